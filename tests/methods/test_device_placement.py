"""Every method on a pretended GPU: nothing that it computes with lies elsewhere, and neither does what it makes.

A method that computes by `torch.export` cannot be pretended: its name belongs into NOT_PRETENDED.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from suite import plan, registry, run, soundness
from suite.evaluate import OBJECTIVES
from suite.plan import Cell
from suite.progress import Progress
from tests import one_batch, pretended_gpu

QUIET = Progress(silent=True)
#: torch.export takes no tensors that are pretended.
NOT_PRETENDED = {"quantize-qat", "quantize-static", "quantize-dynamic"}
METHODS = sorted(set(registry.catalogue().methods) - NOT_PRETENDED)
#: Task, method and settings: every headline, then what else a method can do, and a task with an opponent.
CASES = [
    *(("vgg16-digits", name, "") for name in METHODS),
    *(("vgg16-digits", "structured", f"importance={each}") for each in ("fpgm", "taylor", "hessian", "bn-scale")),
    ("vgg16-digits", "structured", "importance=lamp scope=global"),
    ("vgg16-digits", "branch-alpha", "noise=0.5 regress_logits=true"),
    ("dcgan-digits", "structured", ""),
    ("dcgan-digits", "branch-alpha", ""),
]
MIXED: dict[str, Callable[[nn.Module], object]] = {
    "inputs of the CPU's": lambda model: model(torch.zeros(2, 3)),
    "a constant of the CPU's": lambda model: model.weight + torch.ones(3),
    "a generator of the CPU's": lambda model: torch.randperm(4, device="cuda", generator=torch.Generator()),
    "NumPy": lambda model: model.weight.detach().numpy(),
    "a mask of the CPU's": lambda model: model.weight.data.mul_(torch.ones(4, 3)),
    "indices of the GPU's in what is on the CPU": lambda model: torch.ones(4)[model.weight.argmax(1)],
}


@pytest.mark.parametrize("mistake", MIXED)
def test_what_a_gpu_refuses_is_refused(mistake: str) -> None:
    with pretended_gpu.gpu():
        model = nn.Linear(3, 4).to("cuda")
        assert model(torch.zeros(2, 3).to("cuda")).device.type == "cuda"
        with pytest.raises((RuntimeError, TypeError), match=r"same device|generator|numpy"):
            MIXED[mistake](model)


@pytest.mark.parametrize(("task", "name", "given"), CASES)
def test_method_leaves_nothing_on_another_device(task: str, name: str, given: str) -> None:
    """On untrained weights, by a recipe of one batch."""
    method = registry.method(name)
    settings = plan.points(method, "first")[0] | dict(each.split("=") for each in given.split())
    cell = Cell(task, name, method.complete(settings), 0, "smoke")
    with pretended_gpu.gpu():
        ready = one_batch.prepare(task, "cuda")
        run.seed_everything(0)
        dense = registry.build_model(ready.task.model, ready.task.options).to("cuda").eval()
        model, _ = run.compress(method, cell, dense, ready, "cuda", QUIET)
        assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cuda"}
        assert soundness.outputs(model, ready).isfinite().all()


def test_reconstructions_are_judged_where_they_are() -> None:
    with pretended_gpu.gpu():
        shown = torch.rand(2, 3, 112, 112).to("cuda")
        sums = OBJECTIVES["reconstruction"].sums(shown, shown.flip(0))
        assert sums.keys() >= {"ssim", "ms_ssim"} and {each.device.type for each in sums.values()} == {"cuda"}
