"""A task's data cut down to one batch, for tests that ask whether a method runs at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suite import run
from suite.invocation import Places
from suite.run import Prepared

NOWHERE = Path("/nowhere")


def prepare(task: str, device: str) -> Prepared:
    """An embedded task at smoke, trained for an epoch of eight images and judged by four."""
    ready = run.prepare(task, "smoke", Places(NOWHERE, NOWHERE, NOWHERE), device)
    recipe = replace(ready.recipe, epochs=1, batch_size=8, train_images=8, eval_images=4)
    return replace(ready, recipe=recipe, dataset=ready.dataset.capped(recipe))
