"""Every registered method passes the conformance test on the digits and runs on the other stand-ins: no list here."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from suite import artifacts, conformance, plan, registry, run, soundness
from suite.errors import Unsupported
from suite.plan import Cell
from suite.progress import Progress
from tests import one_batch

METHODS = sorted(registry.catalogue().methods)
STAND_INS = [name for name, task in registry.tasks().items() if task.embedded and name != "vgg16-digits"]
QUIET = Progress(silent=True)


@pytest.mark.parametrize("name", METHODS)
def test_method_conforms_on_digits(name: str) -> None:
    cases = list(conformance.check(registry.method(name), "vgg16-digits"))
    assert {case.name: case.fault for case in cases if case.fault} == {}
    names = {case.name for case in cases}
    unsupported = any(each.startswith("unsupported here") for each in names)
    assert unsupported or "saves and reloads to the same outputs" in names


@pytest.mark.parametrize("task", STAND_INS)
@pytest.mark.parametrize("name", METHODS)
def test_method_runs_on_a_batch_of_the_other_stand_ins_or_says_why_not(name: str, task: str, tmp_path: Path) -> None:
    """On untrained weights, by the headline point and a recipe of one batch; `conform` without --task really trains."""
    ready = one_batch.prepare(task, "cpu")
    method = registry.method(name)
    cell = Cell(task, name, plan.points(method, "first")[0], 0, "smoke")
    run.seed_everything(0)
    dense = registry.build_model(ready.task.model, ready.task.options).eval()
    wanted = soundness.outputs(copy.deepcopy(dense), ready).shape
    try:
        model, _ = run.compress(method, cell, dense, ready, "cpu", QUIET)
    except Unsupported as error:
        assert len(str(error).split()) > 4 and "\n" not in str(error)
        return
    before = soundness.outputs(model, ready)
    assert before.shape == wanted and bool(before.isfinite().all())
    described = artifacts.describe(
        model, name=ready.task.model, options=ready.task.options, input_shape=ready.task.input_shape
    )
    artifacts.save(model, tmp_path, described, {})
    assert torch.equal(soundness.outputs(artifacts.load(tmp_path), ready), before)
