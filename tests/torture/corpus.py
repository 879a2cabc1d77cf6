"""Record lines as strangers may send them: valid ones, each damaged or falsified in a way drawn from a seed.

They stand for no measurement and are written under temporary folders only.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from suite.records import LONGEST_LINE, encode, sha256_of
from tests.benchmarks import generated

#: Names as those who attack file systems, pages, shells, spreadsheets and scripts choose them.
NAMES = (
    "", " ", ".", "..", "../../outside", "/etc/passwd", "C:\\con", "a/b", "a\x00b", "a\nb", "-rf", "~", "%2e%2e",
    "$(reboot)",
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!--", "]]>", "javascript:alert(1)", "{{7*7}}",
    '" onload="alert(1)', "'; alert(1); '", "`reboot`", "=1+1", "@SUM(A1)", "__proto__", "constructor", "toString",
    "\u202e3.2x", "\u2028", "\u200b", "\ufeff", "\ufffe", "é" * 120, "字" * 119, "İ", "ß", "٣", "CON", "machines",
    "gallery", "site.json", "dense", "x" * 300, "nan", "null", "\U0001f600" * 40, "a\u0301" * 50,
)  # fmt: skip
NUMBERS = (
    0, -0.0, -1, 1, True, False, 2**31, 2**53 + 1, 2**63, 2**64, -(2**64), 10**30, 10**308, 10**400, 1e30, 1e300, 1e308,
    -1e308, 5e-324, 1e-310, 1e-30, 0.1, 1 + 1e-16, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TIMES = (
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "20270101T000000Z", "2026-W53-7", "2026-01-01", "tomorrow", "",
    "2026-01-01T00:00:00+23:59", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z",
    "1970-01-01T00:00:00Z",
)  # fmt: skip
#: What makes the key of a cell.
ASKED = ("task", "method", "hyperparameters", "seed", "profile", "protocol")
Plain = dict[str, Any]


def nested(depth: int, chance: random.Random) -> Any:
    """Lists or objects within each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def value(chance: random.Random) -> Any:
    """Anything that JSON can say, and some that it cannot."""
    kind = chance.randrange(8)
    if kind < 2:
        return chance.choice(NAMES)
    if kind < 4:
        return chance.choice(NUMBERS)
    return (
        None,
        lambda: nested(chance.choice((2, 20, 200, 900, 3000)), chance),
        lambda: {chance.choice(NAMES): chance.choice((*NAMES, *NUMBERS)) for _ in range(chance.randrange(4))},
        lambda: [chance.choice((*NAMES, *NUMBERS)) for _ in range(chance.randrange(6))],
    )[kind - 4 or chance.randrange(1, 4)]()  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ falsified, as objects


def replaced_field(plain: Plain, chance: random.Random) -> None:
    plain[chance.choice(list(plain))] = value(chance)


def lost_field(plain: Plain, chance: random.Random) -> None:
    del plain[chance.choice(list(plain))]


def inner_value(plain: Plain, chance: random.Random) -> None:
    """A number or text somewhere inside, under its own name or a hostile one."""
    field = chance.choice(("metrics", "metrics", "hyperparameters", "conditions", "notes", "versions", "recipe",
        "curve", "trainings",
                           "architecture"))  # fmt: skip
    if field == "curve":
        plain[field] = [{"step": step, chance.choice(("val", *NAMES)): value(chance)} for step in range(3)]
        return
    if field == "trainings":
        point = [chance.choice((1, *NUMBERS)) for _ in range(3)]
        one = {"label": chance.choice(NAMES), "lr": chance.choice(NUMBERS), "points": [point, value(chance)]}
        plain[field] = [
            one,
            {"label": chance.choice(NAMES), "lr": 0.1, "points": [point] * chance.choice((0, 1, 5000))},
        ]
        return
    inside = dict(plain.get(field) or {})
    name = chance.choice([*inside, *NAMES[:3]]) if chance.random() < 0.8 else chance.choice(NAMES)
    inside[name] = chance.choice(NUMBERS) if chance.random() < 0.6 else value(chance)
    plain[field] = inside


def hostile_name(plain: Plain, chance: random.Random) -> None:
    fields = ("task", "method", "machine", "run", "device", "command", "data_source", "data_sha256", "git_commit",
        "freshness",
              "checkpoint_sha256", "base_cell", "reason", "cell")  # fmt: skip
    plain[chance.choice(fields)] = chance.choice(NAMES)


def failed(plain: Plain, chance: random.Random) -> None:
    plain |= {"status": chance.choice(("oom", "timeout", "error", "unsupported")), "reason": chance.choice(NAMES)}
    if chance.random() < 0.5:
        plain["metrics"] = {}


def absurd_metric(plain: Plain, chance: random.Random) -> None:
    plain["metrics"] = plain.get("metrics", {}) | {
        chance.choice([*plain.get("metrics", {}), "top1"]): chance.choice(NUMBERS)
    }


def odd_time(plain: Plain, chance: random.Random) -> None:
    plain["created"] = chance.choice(TIMES)


def odd_samples(plain: Plain, chance: random.Random) -> None:
    pair = [chance.choice(NUMBERS), chance.choice(NUMBERS)]
    plain["samples"] = [pair[: chance.randrange(1, 3)] for _ in range(chance.choice((1, 200, 201)))]


def other_kind(plain: Plain, chance: random.Random) -> None:
    plain["kind"] = chance.choice(("accuracy", "latency", "memory", "energy", "noise-floor"))
    plain["metrics"] = plain.get("metrics", {}) | {"noise_floor": chance.choice(NUMBERS),
        "joules": chance.choice(NUMBERS),
                                           "peak_bytes": chance.choice(NUMBERS)}  # fmt: skip
    if chance.random() < 0.5:
        plain["conditions"] = {
            chance.choice(("threads", "batch_size", "backend", "precision", "cache", "timing")): value(chance)
        }


def another_seed(plain: Plain, chance: random.Random) -> None:
    plain["seed"] = chance.choice((-1, 3, 10**6, 2**31, 2**63, 10**30, chance.randrange(10**9)))


def another_protocol(plain: Plain, chance: random.Random) -> None:
    """Of a cell under another protocol, or one that lies of its own."""
    plain["protocol"] = chance.choice((0, -1, 2, 10**30))


def large(plain: Plain, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        plain[chance.choice(("command", "reason", "data_source", "weather"))] = "x" * chance.choice(
            (25_000, LONGEST_LINE)
        )
    elif kind == 1:
        plain["curve"] = [{"step": step} for step in range(chance.choice((1000, 20_000)))]
    elif kind == 2:
        plain["metrics"] = plain.get("metrics", {}) | {f"m{n}": n for n in range(chance.choice((100, 20_000)))}
    else:
        plain["notes"] = {"x" * chance.choice((10, 30_000)): "y" * chance.choice((10, 30_000))}


def hostile_pictures(plain: Plain, chance: random.Random) -> None:
    plain["gallery"] = [chance.choice(("a" * 64, "../" * 20 + "abcd", "A" * 64, "a" * 64 + "\n", ""))] * chance.choice(
        (2, 64, 65)
    )


#: What a change relies on; one before it may have made it something else.
_OBJECTS = {"metrics": dict} | dict.fromkeys(("hyperparameters", "conditions", "notes", "versions", "recipe",
    "architecture"),
                                             dict | None)  # fmt: skip
#: Each changes a record in place.
CHANGES: tuple[Callable[[Plain, random.Random], None], ...] = (
    replaced_field, replaced_field, lost_field, inner_value, inner_value, inner_value, hostile_name, hostile_name,
        failed,
    absurd_metric, odd_time, odd_samples, other_kind, another_seed, another_protocol, hostile_pictures,
)  # fmt: skip
#: One record in so many has a change that makes it large: a folder stays writable, and reading it is still tried.
LARGE_SHARE = 200


# --------------------------------------------------------------------------------------------------- damaged, as bytes


def duplicated_key(line: bytes, chance: random.Random) -> bytes:
    twice = chance.choice((b'"seed":1', b'"task":"../x"', b'"metrics":{}', b'"machine":".."', b'"status":"error"'))
    return b"{" + twice + b"," + line[1:-1] + b"," + twice + b"}"


def literal(line: bytes, chance: random.Random) -> bytes:
    """What is no JSON, or no number, where a number was."""
    for old in (b'"speedup":', b'"top1":', b'"peak_bytes":', b'"seed":'):
        if old in line:
            new = chance.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"0x10", b"1_000", b"01", b"+1",
                b"." + b"9" * 5000,
                                 b"9" * 5000, b'"\\ud800"', b'"\xed\xa0\x80"', b"nan"))  # fmt: skip
            head, _, tail = line.partition(old)
            return head + old + new + tail[tail.index(b",") :]
    return line


def flipped(line: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(line)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged))
        kind = chance.randrange(4)
        if kind == 0:
            damaged[at] = chance.randrange(256)
        elif kind == 1:
            del damaged[at : at + chance.randint(1, 40)]
        elif kind == 2:
            damaged[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            damaged[at:at] = damaged[at : at + chance.randint(1, 60)]
    return bytes(damaged).replace(b"\n", b" ")


def cut(line: bytes, chance: random.Random) -> bytes:
    return line[: chance.randrange(len(line))]


def deep(line: bytes, chance: random.Random) -> bytes:
    depth = chance.choice((100, 900, 5000))
    return line[:-1] + b',"weather":' + b"[" * depth + b"]" * depth + b"}"


DAMAGES = (duplicated_key, literal, literal, flipped, flipped, flipped, cut, deep)


# ------------------------------------------------------------------------------------------------------------ together


def honest() -> list[Plain]:
    """Valid records of every kind and of three tasks, to start from."""
    found = [json.loads(encode(record)) for record in generated.records(360)]
    layers = {"head": ["Linear", {"in_features": 512, "out_features": 10, "bias": True}]}
    for plain in found:
        plain["architecture"] = {
            "model": "vgg16",
            "options": {"classes": 10},
            "input_shape": [3, 32, 32],
            "layers": layers,
        }
        plain["notes"] = {"contended": False}
    return found


def lines(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` lines without their newline; most are no records, some are valid and say what nobody measured.

    Half of the falsified ones are told the key of the cell that they claim to be, as whoever means harm would.
    """
    chance = random.Random(seed)
    start = honest()
    for number in range(count):
        plain = copy.deepcopy(chance.choice(start))
        if chance.random() < 0.3:
            yield chance.choice(DAMAGES)(json.dumps(plain, separators=(",", ":")).encode(), chance)
            continue
        for change in chance.choices(CHANGES, k=chance.choice((1, 1, 2, 3))):
            if all(isinstance(plain.get(name), kinds) for name, kinds in _OBJECTS.items()):
                change(plain, chance)
        if number % LARGE_SHARE == 0 and isinstance(plain.get("metrics", {}), dict):
            large(plain, chance)
        if chance.random() < 0.7:
            rekey(plain)
        yield _text(plain)


def rekey(plain: Plain) -> None:
    """Give a record the key of the cell that it says it is, where there is one."""
    with contextlib.suppress(KeyError, ValueError, RecursionError, TypeError):
        plain["cell"] = sha256_of({name: plain[name] for name in ASKED})


def _text(plain: Plain) -> bytes:
    """JSON with the literals NaN and Infinity where it has such numbers."""
    try:
        return json.dumps(plain, separators=(",", ":")).encode()
    except RecursionError:
        return b"[" * 2000


def write(folder: Path, count: int, *, seed: int = 0, files: int = 20) -> None:
    """A results folder of `count` lines in a few files, each on a line of its own."""
    targets = [folder / f"box-{n % 4}" / f"run-{n}.jsonl" for n in range(files)]
    for path in targets:
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        open_files = [stack.enter_context(open(path, "ab")) for path in targets]
        for number, line in enumerate(lines(count, seed)):
            open_files[number % files].write(line + b"\n")


def write_honest(folder: Path) -> None:
    """The records that the hostile ones are made from."""
    generated.write(folder, 360)
