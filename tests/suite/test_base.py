"""A method that starts from another's compressed model: one spelling, the base run first, each named in the record."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import artifacts, cli, execute, invocation, isolate, modelfiles, plan, registry
from suite.errors import UsageError
from suite.execute import Session
from suite.options import cells_of
from suite.plan import Cell
from suite.progress import Progress

L1 = "l1-three-stage:channel_ratio=0.34375"
QUIET = Progress(silent=True)


def complete(method: str, **given: Any) -> dict[str, Any]:
    return registry.method(method).complete(given)


# ------------------------------------------------------------------------------------------------------- what it means


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("l1-three-stage", L1),
        (L1, L1),
        ("l1-three-stage:channel_ratio=0.343750", L1),
        ("l1-three-stage:steps=6,channel_ratio=0.5", "l1-three-stage:channel_ratio=0.5"),
        ("l1-three-stage:stop=True,steps=3", "l1-three-stage:channel_ratio=0.34375,steps=3,stop=true"),
        ("global-unstructured:sparsity=.5", "global-unstructured:epochs=20,sparsity=0.5"),
        ("from-scratch:budget=B", f"from-scratch:base=[{L1}],budget=B"),
        (
            "from-scratch:budget=B,base=[l1-three-stage:steps=3,channel_ratio=0.5]",
            "from-scratch:base=[l1-three-stage:channel_ratio=0.5,steps=3],budget=B",
        ),
    ],
)
def test_equal_bases_have_one_spelling(given: str, spelled: str) -> None:
    assert complete("global-unstructured", base=given)["base"] == spelled
    assert complete("global-unstructured", base=spelled)["base"] == spelled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("l1-tree-stage", r"unknown method 'l1-tree-stage': did you mean 'l1-three-stage'\?"),
        ("l1-three-stage:chanel_ratio=0.5", r"did you mean 'channel_ratio'\?"),
        ("l1-three-stage:steps=two", "steps=two is not a whole number"),
        ("l1-three-stage:0.5", "write it as METHOD:name=value,name=value"),
        ("l1-three-stage:steps=2,steps=3", "each name once"),
        ("l1-three-stage:,steps=2", "write it as METHOD"),
        ("dense", "every method starts from dense anyway; leave base out"),
    ],
)
def test_base_that_is_none_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        complete("global-unstructured", base=text)


def test_dense_has_no_base() -> None:
    with pytest.raises(UsageError, match="unknown hyperparameter of dense 'base'"):
        complete("dense", base="l1-three-stage")


def test_base_that_is_not_set_leaves_keys_as_they_were() -> None:
    """Records measured before a method could have a base keep their cells."""
    assert "base" not in complete("l1-three-stage")
    assert complete("l1-three-stage", base="none") == complete("l1-three-stage")
    assert complete("from-scratch")["base"] == L1, "a method that declares it states it"


def test_arguments_of_a_combined_cell_name_it() -> None:
    asked = complete("global-unstructured", base="l1-three-stage:steps=3", sparsity="0.5")
    cell = Cell("vgg16-digits", "global-unstructured", asked, 3, "smoke")
    words = shlex.split(cell.arguments)
    options = cli._parser().parse_args(["run", *words])
    assert cells_of(options)[0].key == cell.key
    assert cell.base is not None
    assert (cell.base.task, cell.base.seed, cell.base.profile) == ("vgg16-digits", 3, "smoke")
    assert cell.base.hyperparameters["steps"] == 3


def test_base_comes_before_what_starts_from_it() -> None:
    inner = Cell("tiny", "l1-three-stage", complete("l1-three-stage"), 0, "smoke")
    middle = Cell("tiny", "from-scratch", complete("from-scratch"), 0, "smoke")
    outer = Cell("tiny", "global-unstructured", complete("global-unstructured", base="from-scratch"), 0, "smoke")
    assert [cell.key for cell in plan.with_bases([outer, inner])] == [inner.key, middle.key, outer.key]
    assert plan.with_bases([outer], lambda cell: False) == (outer,)
    waits_for = {cell.key: isolate.needs(isolate.Step(cell)) for cell in (outer, inner, middle)}
    assert middle.key in waits_for[outer.key] and inner.key in waits_for[middle.key]
    assert not waits_for[inner.key] & {middle.key, outer.key}


def test_freshness_depends_on_the_bases_file() -> None:
    own = plan.current_freshness("vgg16-digits", "global-unstructured")
    on_l1 = plan.current_freshness("vgg16-digits", "global-unstructured", "l1-three-stage")
    on_random = plan.current_freshness("vgg16-digits", "global-unstructured", "random-structured")
    assert len({own, on_l1, on_random, None}) == 4
    assert plan.current_freshness("vgg16-digits", "global-unstructured", "gone:channel_ratio=2") is None


BASED = '''
from suite import register_method


@register_method("one", family="quantization", points=[{{"base": "{base}"}}])
def one(model, bench):
    """Return the network as it came in, whatever that was, for a test of eight words."""
    return model
'''


def test_method_whose_point_names_no_base_is_unavailable_and_others_go_on(install: Callable[..., Path]) -> None:
    install(methods={"one": BASED.format(base="l1-tree-stage")})
    found = registry.catalogue()
    assert "one" not in found.methods and "l1-three-stage" in found.methods
    assert "a base does not fit: unknown method 'l1-tree-stage'" in found.unavailable["outside.one"]


def test_method_that_is_its_own_base_is_unavailable(install: Callable[..., Path]) -> None:
    declared = BASED.format(base="one").replace("(model, bench)", '(model, bench, *, base: str = "one")')
    install(methods={"one": declared})
    assert "a base does not fit" in registry.catalogue().unavailable["outside.one"]


# --------------------------------------------------------------------------------------------------------- run for real


@pytest.fixture
def session(places: Any, results_dir: Path) -> Session:
    return Session(replace(places, results=results_dir), "cpu", invocation.provenance(), QUIET)


def test_base_is_run_first_and_named(session: Session, tiny_cell: Callable[..., Cell]) -> None:
    """The head loses a quarter of its weights, then half: what is left starts from what the first one left."""
    cell = tiny_cell("zeroes", share=0.5, base="zeroes:share=0.25")
    done = [outcome.record for outcome in execute.compress([cell], session)]
    assert [record.hyperparameters["share"] for record in done] == [0.25, 0.5]
    base, combined = done
    assert combined.status == "ok" and combined.base_cell == base.cell and base.base_cell is None
    assert combined.checkpoint_sha256 == base.checkpoint_sha256, "both come from one dense model"
    assert combined.hyperparameters == {"share": 0.5, "finetune": False, "base": "zeroes:share=0.25"}
    folder = execute._stored(cell, session)
    assert folder is not None and artifacts.load(folder) is not None
    assert [outcome.skipped for outcome in execute.compress([cell], session)] == [True], "the base is not run again"


def test_worker_processes_wait_for_the_base(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], results_dir: Path
) -> None:
    done = run_cli("run", "--task", "tiny", "--method", "zeroes", "--set", "share=0.5", "--set",
                   "base=zeroes:share=0.25", "--profile", "smoke", "--workers", 2, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    base, combined = (json.loads(line) for line in done.stdout.splitlines())
    assert (base["status"], combined["status"], combined["base_cell"]) == ("ok", "ok", base["cell"])


def test_combined_cell_starts_from_the_bases_weights(session: Session, tiny_cell: Callable[..., Cell]) -> None:
    cell = tiny_cell("zeroes", share=0.25, base="zeroes:share=0.5")
    list(execute.compress([cell], session))
    head = artifacts.load(execute._stored(cell, session)).head.weight  # type: ignore[arg-type]
    assert float((head == 0).float().mean()) >= 0.5


def test_base_whose_weights_are_gone_is_made_again(session: Session, tiny_cell: Callable[..., Cell]) -> None:
    cell = tiny_cell("zeroes", share=0.7, base="zeroes:share=0.2")
    assert cell.base is not None
    list(execute.compress([cell.base], session))
    folder = invocation.newest_model(cell.base, session.places.artifacts)
    assert folder is not None
    (folder / modelfiles.WEIGHTS).unlink()
    done = [outcome.record for outcome in execute.compress([cell], session)]
    assert [(record.hyperparameters["share"], record.status) for record in done] == [(0.2, "ok"), (0.7, "ok")]


def test_base_that_cannot_be_made_makes_the_cell_unsupported(session: Session, tiny_cell: Callable[..., Cell]) -> None:
    done = [o.record for o in execute.compress([tiny_cell("zeroes", base="refuses")], session)]
    assert [record.status for record in done] == ["unsupported", "unsupported"]
    assert done[1].reason is not None and done[1].reason.startswith(
        "its base refuses has no model: its own record says why"
    )


def test_base_made_from_other_data_is_named_and_tried_again(session: Session, tiny_cell: Callable[..., Cell]) -> None:
    cell = tiny_cell("zeroes", share=0.6, base="zeroes:share=0.1")
    base = cell.base
    assert base is not None
    list(execute.compress([base], session))
    folder = invocation.newest_model(base, session.places.artifacts)
    assert folder is not None
    folder.rename(folder.with_name(folder.name.rpartition("-")[0] + "-00000000"))
    (record,) = (outcome.record for outcome in execute.compress([cell], session))
    assert record.status == "error", "not a standing fact about the method"
    assert "was made from other data: python -m suite run --task tiny --method zeroes" in str(record.reason)


def test_quantized_network_is_compressed_no_further(tiny_task: Any, tmp_path: Path, results_dir: Path) -> None:
    places = invocation.Places(tmp_path, tmp_path / "artifacts", results_dir)
    cell = Cell("tiny", "l1-three-stage", complete("l1-three-stage", base="quantize-dynamic"), 0, "smoke")
    done = [o.record for o in execute.compress([cell], Session(places, "cpu", invocation.provenance(), QUIET))]
    assert [record.status for record in done] == ["ok", "unsupported"]
    assert done[1].reason == "its base quantize-dynamic computes in INT8: prune first and quantize last"


def test_base_longer_than_any_is_refused() -> None:
    with pytest.raises(UsageError, match="longer than 1000 characters"):
        complete("global-unstructured", base="from-scratch:base=[" * 1200)
