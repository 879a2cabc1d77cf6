"""The command line: exit codes, one line for each mistake, records and nothing else on standard output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from suite import cli, listing, records, registry
from suite.records import Record, RunFile


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: Any
) -> Callable[..., Said]:
    """`call("run", ...)`: the command in this process, in an empty folder, with the models of this module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEMARK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PRUNEMARK_ARTIFACTS", str(places.artifacts))

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = cli.main([str(each) for each in arguments])
        return Said(code, *capsys.readouterr())

    return run


RUN = ("run", "--task", "tiny", "--profile", "smoke")

# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "COMMAND"),
        (("rum",), "invalid choice: 'rum'"),
        (("run", "--taks", "tiny"), "unrecognized arguments: --taks tiny; did you mean --task? (python -m suite run"),
        (("check", "a", "--results", "b"), "argument --results: not allowed with argument RESULTS"),
        (("run", "--task"), "--task: expected one argument"),
        (("run", "--task", "tinny"), "unknown task 'tinny': did you mean 'tiny'?"),
        (("bench", "--task", "tinny"), "unknown task 'tinny': did you mean 'tiny'?"),
        (("plan", "--task", "tinny"), "unknown task 'tinny': did you mean 'tiny'?"),
        ((*RUN, "--method", "l1-tree-stage"), "unknown method 'l1-tree-stage': did you mean 'l1-three-stage'?"),
        (
            (*RUN, "--method", "zeroes", "--set", "shares=0.5"),
            "unknown hyperparameter of zeroes 'shares': did you mean 'share'?",
        ),
        ((*RUN, "--method", "zeroes", "--set", "share"), "--set share: write it as name=value"),
        ((*RUN, "--set", "share=1", "--set", "share=2"), "--set share is given twice, as 1 and as 2"),
        (("study", "fig4a-l1-curve", "--set", "steps=2"), "a study fixes its cells' settings: leave out --set"),
        (("plan", "--study", "fig4a-l1-curve", "--set", "steps=2"), "a study fixes its cells' settings: leave out"),
        (("plan", "--study", "all", "--points", "first"), "a study fixes its cells' settings: leave out --set"),
        (("study", "fig4a-l1-curve", "--bench", "--rows", "all"), "a study fixes its benchmark rows: leave out --rows"),
        (("plan", "--study", "fig4a-l1-curve", "--rows", "all"), "a study fixes its benchmark rows: leave out --rows"),
        (("study", "fig4a-l1-curve", "--task", "vgg16-digits"), "the study has no cell of vgg16-digits: it has vgg16-"),
        (("study", "fig4a-l1-curve", "--method", "dens"), "did you mean 'dense'?"),
        ((*RUN, "--method", "zeroes", "--set", "=0.5"), "--set =0.5: write it as name=value"),
        ((*RUN, "--method", "zeroes", "--set", "share="), "zeroes: share= is not a finite number"),
        ((*RUN, "--method", "zeroes", "--set", "share=nan"), "zeroes: share=nan is not a finite number"),
        ((*RUN, "--method", "zeroes", "--set", "finetune=1"), "zeroes: finetune=1 is not true or false"),
        ((*RUN, "--method", "l1-three-stage", "--set", "steps=2.5"), "steps=2.5 is not a whole number"),
        ((*RUN, "--method", "dense", "--set", "lr=1"), "unknown hyperparameter of dense 'lr': it has none"),
        (("run", "--task", "tiny", "--profile", "smoek"), "unknown profile 'smoek': did you mean 'smoke'?"),
        (("study", "fig4a-l1-curve", "--profile", "smoek"), "unknown profile 'smoek': did you mean 'smoke'?"),
        (("plan", "--task", "tiny", "--profile", "ful"), "unknown profile 'ful': did you mean 'full'?"),
        (("study", "fig4a-l1-curv"), "unknown study 'fig4a-l1-curv': did you mean 'fig4a-l1-curve'?"),
        ((*RUN, "--executor", "locale"), "unknown executor 'locale': did you mean 'local'?"),
        ((*RUN, "--device", "gpu"), "unknown device 'gpu': choose one of cpu, cuda"),
        (("plan", "--task", "tiny", "--device", "gpu"), "unknown device 'gpu'"),
        (("plan", "--task", "tiny", "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        (("list", "matrix", "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        ((*RUN, "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        ((*RUN, "--artifacts", os.devnull), f"{os.devnull} is no folder (--artifacts)"),
        (("bench", "--task", "tiny", "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        (("study", "fig4a-l1-curve", "--table", "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        (("verify", "abc", "--results", os.devnull), f"{os.devnull} is no folder (--results)"),
        ((*RUN, "--method", "l1-three-stage", "--set", "channel_ratio=-3"), "channel_ratio=-3 is not a number above 0"),
        ((*RUN, "--method", "branch-alpha", "--set", "restarts=a,b"), "restarts=a,b is not numbers with commas"),
        ((*RUN, "--method", "structured", "--set", "steps=2"), "structured: there is no target: --set one of"),
        ((*RUN, "--workers", "0"), "0 is not at least 1"),
        ((*RUN, "--workers", "two"), "two is not a whole number"),
        ((*RUN, "--seed", "-1"), "-1 is not between 0 and"),
        ((*RUN, "--seed", "one"), "one is not a whole number"),
        ((*RUN, "--rows", "some"), "invalid choice: 'some'"),
        ((*RUN, "--data", "nowhere"), "no such folder: nowhere (--data)"),
        (("site", "--out", ""), "argument --out: an empty text is no path"),
        (("check", "nowhere"), "no such folder: nowhere\n"),
        (("check", "."), "no records in .: name the folder that has one for each machine"),
        (("site", "--results", "nowhere", "--out", "out"), "no such folder: nowhere (--results)"),
        (("study", "fig4a-l1-curve", "--table", "--results", "nowhere"), "no such folder: nowhere (--results)"),
        (("list", "matrix", "--results", "nowhere"), "no such folder: nowhere (--results)"),
        (("merge", "nowhere", "--into", "results"), "no such results folder: nowhere"),
        (("list", "things"), "invalid choice: 'things'"),
        (("list", "tasks", "tinny"), "unknown task 'tinny': did you mean 'tiny'?"),
        (("list", "methods", "zeros"), "unknown method 'zeros': did you mean 'zeroes'?"),
        (("list", "studies", "fig4b"), "unknown study 'fig4b'"),
        (("conform", "l1-tree-stage"), "did you mean 'l1-three-stage'?"),
        (("conform", "nowhere.py"), "no such file: nowhere.py"),
        (("conform", "/dev/null"), "/dev/null is no Python file"),
        (("conform", "dense", "--task", "tinny"), "unknown task 'tinny': did you mean 'tiny'?"),
        (("download", "cifar"), "unknown data set 'cifar': did you mean 'cifar10'?"),
        (("merge", "--into", "x"), "SRC"),
    ],
)
def test_usage_mistake_is_one_line_and_exit_code_2(
    call: Callable[..., Said], arguments: tuple[str, ...], message: str
) -> None:
    said = call(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("prunemark: ") and said.err.count("\n") == 1
    assert list(Path.cwd().iterdir()) == [], "nothing was written"


def test_failure_that_a_user_can_mend_is_one_line_and_exit_code_1(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for arguments, message in [
        (("run", "--task", "vgg16-cifar10", "--profile", "smoke"), "cifar10 is not in"),
        ((*RUN, "--method", "dense", "--artifacts", "file/models"), "cannot write"),
    ]:
        said = call(*arguments)
        assert said.code == 1, arguments
        assert said.out == ""
        last = said.err.splitlines()[-1]
        assert last.startswith("prunemark: ") and message in last
        assert "Traceback" not in said.err
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("command", ["run", "bench"])
def test_cuda_without_cuda_is_one_line_and_exit_code_1(call: Callable[..., Said], command: str) -> None:
    said = call(command, "--task", "tiny", "--method", "dense", "--device", "cuda")
    assert said.code == 1 and said.out == ""
    assert said.err.startswith("prunemark: no CUDA device here: use --device cpu") and said.err.count("\n") == 1


def test_help_is_exit_code_0(call: Callable[..., Said], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["run", "--help"], ["study", "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
    assert "train, compress and evaluate cells" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------------------- run


def test_json_is_one_object_a_record_and_nothing_else(call: Callable[..., Said]) -> None:
    said = call(*RUN, "--method", "dense", "--method", "zeroes", "--method", "raises", "--method", "refuses", "--json")
    assert said.code == 1, "one of the methods failed"
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [(each["method"], each["status"]) for each in found] == [
        ("dense", "ok"), ("zeroes", "ok"), ("zeroes", "ok"), ("raises", "error"),
        ("refuses", "unsupported")]  # fmt: skip
    assert "prunemark: tiny/raises: error: ValueError: the ranks are all equal\n" in said.err
    again = call(*RUN, "--method", "dense", "--json")
    assert again.code == 0
    assert again.out.splitlines() == said.out.splitlines()[:1], "a record measured before is printed as it was"


def test_run_tells_a_person_what_was_measured(call: Callable[..., Said]) -> None:
    said = call(*RUN, "--method", "zeroes", "--set", "share=0.25")
    assert said.code == 0
    first, last = said.out.splitlines()
    assert first.startswith("tiny zeroes share=0.25: top1 0.") and "parameters" in first and "M MACs" in first
    assert last == "1 measured, 0 fresh before, 0 failed; records in results"
    again = call(*RUN, "--method", "zeroes", "--set", "share=0.25")
    assert again.out.splitlines()[0].endswith("(measured before)")
    assert again.out.splitlines()[1] == "0 measured, 1 fresh before, 0 failed; records in results"


def test_unsupported_alone_is_no_failure(call: Callable[..., Said]) -> None:
    said = call(*RUN, "--method", "refuses")
    assert said.code == 0
    assert "tiny refuses: unsupported: grouped convolutions are beyond it" in said.out
    assert "1 measured (1 of them unsupported), 0 fresh before, 0 failed" in said.out


def test_interrupt_keeps_what_was_finished_and_says_so(
    call: Callable[..., Said], install: Callable[..., Path], results_dir: Path
) -> None:
    source = '''
import multiprocessing
import os
import signal
import time

from suite import register_method


@register_method("interrupted", family="control")
def interrupted(model, bench):
    """Ctrl-C is pressed in the command that waits for this method."""
    os.kill(multiprocessing.parent_process().pid, signal.SIGINT)
    time.sleep(1000)
'''
    install(methods={"interrupted": source})
    said = call(*RUN, "--method", "dense", "--method", "interrupted", "--results", results_dir)
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("prunemark: interrupted; what was finished is kept")
    assert [record.method for record in records.read_results(results_dir)[0]] == ["dense"]


def test_points_first_is_the_headline_and_seeds_repeat(call: Callable[..., Said]) -> None:
    said = call(*RUN, "--method", "zeroes", "--points", "first", "--seed", "0", "--seed", "1", "--json")
    assert [(each["seed"], each["hyperparameters"]["share"]) for each in map(json.loads, said.out.splitlines())] == [
        (0, 0.5), (1, 0.5)]  # fmt: skip


def test_record_of_others_without_the_usual_metrics_is_still_told(
    call: Callable[..., Said], make_record: Callable[..., Record], results_dir: Path, tiny_cell: Callable[..., Any]
) -> None:
    """A merged record need not have every metric; a run that skips its cell must not fall over it."""
    from suite import plan

    for metrics in ({"parameters": 5}, {"parameters": 5, "top1": None}, {"top1": 0.5, "parameters": 5, "macs": None}):
        with RunFile(results_dir, "m", "r") as file:
            file.append(make_record(method="dense", hyperparameters={}, metrics=metrics,
                                    freshness=plan.current_freshness("tiny", "dense")))  # fmt: skip
        said = call(*RUN, "--method", "dense", "--results", results_dir)
        assert said.code == 0
        assert said.out.startswith("tiny dense: ") and "(measured before)" in said.out


# ------------------------------------------------------------------------------------------------------ other commands


def test_check_names_each_bad_line(
    call: Callable[..., Said], make_record: Callable[..., Record], results_dir: Path
) -> None:
    (results_dir / "machines").mkdir(parents=True)
    (results_dir / "machines" / "box.json").write_text('{"slug": "box"}')
    with RunFile(results_dir, "box", "r") as file:
        file.append(make_record(machine="box"))
    assert call("check", results_dir) == Said(0, "1 valid records, 0 bad\n", "")
    with open(results_dir / "box" / "r.jsonl", "ab") as stream:
        stream.write(b'{"schema": 1}\n[]\n{"cut')
    said = call("check", results_dir)
    assert said.code == 1 and said.out == "1 valid records, 3 bad\n"
    where = f"prunemark: [record] {results_dir / 'box' / 'r.jsonl'}"
    assert [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in said.err.splitlines()] == [
        f"{where}:2", f"{where}:3", f"{where}:4"]  # fmt: skip


def test_check_warns_and_is_strict_on_demand(
    call: Callable[..., Said], make_record: Callable[..., Record], results_dir: Path
) -> None:
    with RunFile(results_dir, "box", "r") as file:
        file.append(make_record(machine="box"))
    said = call("check", results_dir)
    assert said.code == 0 and said.out == "1 valid records, 0 bad, 1 warnings\n"
    assert said.err.startswith(f"prunemark: warning: [unknown-machine] {results_dir}/box/r.jsonl:1: ")
    assert call("check", results_dir, "--strict").code == 1
    assert "lost-seed        warning  " in call("check", "--list").out


def test_check_and_merge_name_a_damaged_machine_file(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "r" / "machines").mkdir(parents=True)
    (tmp_path / "r" / "machines" / "box.json").write_text("{")
    for said in (call("check", "r"), call("merge", "r", "--into", "other")):
        assert said.code == 1
        assert "box.json:0: describes no machine" in said.err and "1 bad" in said.out


def test_a_row_of_a_busy_machine_says_so(make_record: Callable[..., Record]) -> None:
    metrics = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1}
    busy = make_record(kind="latency", metrics=metrics, conditions={"batch_size": 1}, notes={"contended": True})
    assert "contended" in listing.line(busy) and "--force" in listing.line(busy)


def test_merge_tells_what_came_in(
    call: Callable[..., Said], make_record: Callable[..., Record], tmp_path: Path
) -> None:
    with RunFile(tmp_path / "a", "m", "r") as file:
        file.append(make_record(seed=1))
    assert call("merge", "a", "--into", "b") == Said(
        0, "1 records added to b, 0 were there already, 0 bad ones left out\n", ""
    )
    (tmp_path / "a" / "m" / "s.jsonl").write_bytes(b"{}\n")
    said = call("merge", "a", "--into", "b")
    assert said.code == 1
    assert said.out == "0 records added to b, 1 were there already, 1 bad ones left out\n"
    assert said.err.startswith("prunemark: left out: ")


@pytest.mark.parametrize("what", ["tasks", "methods", "studies"])
def test_listing_is_json_or_text(call: Callable[..., Said], what: str) -> None:
    entries = json.loads(call("list", what, "--json").out)
    assert entries and all(each["name"] and "description" in each for each in entries)
    text = call("list", what).out
    assert all(each["name"] in text for each in entries)
    one = call("list", what, entries[0]["name"])
    assert one.code == 0 and entries[0]["description"] in one.out


def test_listed_method_shows_its_hyperparameters_and_whether_it_is_there(
    call: Callable[..., Said], install: Callable[..., Path]
) -> None:
    entry = {each["name"]: each for each in json.loads(call("list", "methods", "--json").out)}["l1-three-stage"]
    assert entry["available"] and entry["reason"] is None
    assert {each["name"]: each["default"] for each in entry["hyperparameters"]} == registry.method(
        "l1-three-stage"
    ).complete({})
    text = call("list", "methods", "l1-three-stage").out
    assert "  --set channel_ratio=0.34375  (number above 0 and at most 1)\n" in text
    assert "  points: channel_ratio=0.34375\n          channel_ratio=0.7\n" in text, "what a point sets, no more"
    assert text.count("--set base=METHOD[:name=value,...]") == 1 and "available" not in text
    assert "base=METHOD" not in call("list", "methods", "dense").out
    text = call("list", "methods", "from-scratch").out
    assert "--set base=l1-three-stage:channel_ratio=0.34375  (METHOD[:name=value,...])\n" in text
    install(methods={"broken": "def broken(:\n"})
    assert "outside.broken" in call("list", "methods").out
    assert "unavailable: " in call("list", "methods").out
    said = call(*RUN, "--method", "broken")
    assert said.code == 2 and "method 'broken' is unavailable" in said.err


def test_plan_tells_what_is_owed(call: Callable[..., Said]) -> None:
    asked = ("--task", "tiny", "--method", "dense", "--method", "zeroes", "--profile", "smoke", "--seed", "7", "--json")
    before = json.loads(call("plan", *asked).out)
    assert [row["state"] for row in before["cells"]] == ["owed"] * 3 and before["owed"] == 3
    assert before["device"] == "cpu" and before["seconds"] >= 0
    call("run", *asked[:-1], "--method", "dense")
    after = json.loads(call("plan", *asked).out)
    assert [row["state"] for row in after["cells"]] == ["fresh"] * 3 and after["owed"] == 0
    assert json.loads(call("plan", *asked, "--missing").out)["cells"] == []
    assert "0 of 3 cells owed" in call("plan", *asked[:-1]).out


def test_plan_counts_the_bases_that_a_run_would_make_once(call: Callable[..., Said]) -> None:
    base = "--set=base=zeroes:finetune=false,share=0.4"
    asked = ("--task", "tiny", "--method", "zeroes", "--method", "refuses", base, "--profile", "smoke", "--seed", "8")
    before = json.loads(call("plan", *asked, "--missing", "--json").out)
    assert [(row["state"], row["base"]) for row in before["cells"]] == [
        ("owed", True), ("owed", False), ("owed", False)]  # fmt: skip
    assert "share=0.4" in before["cells"][0]["arguments"] and before["owed"] == 3
    text = call("plan", *asked).out.splitlines()
    assert text[0].endswith("(others start from it)")
    assert text[-2].startswith("3 of 3 cells owed, 1 of them for others to start from: at most ")
    call("run", *asked[:2], "--method", "zeroes", "--set", "share=0.4", "--profile", "smoke", "--seed", "8")
    after = json.loads(call("plan", *asked, "--missing", "--json").out)
    assert [row["base"] for row in after["cells"]] == [False, False]


def test_setting_goes_to_the_methods_that_have_it_where_none_is_named(call: Callable[..., Said]) -> None:
    plain = ("plan", "--task", "tiny", "--profile", "smoke", "--json")
    said = call(*plain, "--set", "share=0.75")
    assert said.code == 0 and len(json.loads(said.out)["cells"]) == 1
    assert said.err.startswith("prunemark: --set share=0.75 leaves out: ") and said.err.count("\n") == 1
    assert "dense" in said.err and "without share" in said.err
    said = call(*plain, "--set", "base=zeroes:share=0.75")
    methods = {row["arguments"].split()[3] for row in json.loads(said.out)["cells"]}
    assert "dense" not in methods and {"zeroes", "l1-three-stage"} <= methods
    assert "dense, without base" in said.err and "structured: there is no target" in said.err
    for words, message in [
        (("share=x",), "zeroes: share=x is not a finite number"),
        (("shar=1",), "unknown hyperparameter 'shar': did you mean 'share'?"),
        (("share=0.5", "restarts=1"), "no method has all of share, restarts"),
    ]:
        said = call(*plain, *(each for word in words for each in ("--set", word)))
        assert said.code == 2 and said.out == "" and message in said.err and said.err.count("\n") == 1


def test_conform_prints_each_case_and_fails_for_a_bad_method(call: Callable[..., Said]) -> None:
    said = call("conform", "zeroes", "--task", "tiny")
    assert said.code == 0
    assert all(line.startswith("pass  ") for line in said.out.splitlines()) and len(said.out.splitlines()) == 10
    said = call("conform", "raises", "--task", "tiny")
    assert said.code == 1
    assert "FAIL  tiny             runs: ValueError: the ranks are all equal" in said.out
    assert said.err == "prunemark: raises fails 1 of the conformance cases above; it would not be listed\n"


def test_doctor_says_what_is_here(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("doctor", "--data", tmp_path)
    assert said.code == 0
    facts = {line[:16].strip(): line for line in said.out.splitlines()}
    assert "missing: python -m suite download cifar10" in facts["data cifar10"]
    assert "found" in facts["data digits"]
    assert str(tmp_path) in facts["data root"]


def test_download_of_digits_fetches_nothing(call: Callable[..., Said]) -> None:
    assert call("download", "digits") == Said(0, "digits come with scikit-learn: nothing to fetch\n", "")
