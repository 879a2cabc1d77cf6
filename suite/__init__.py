"""Prunemark's harness. What methods, tasks and models may use of it is exported here, and loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models import register_model as register_model
    from suite.bounds import Range as Range
    from suite.data import Arrays as Arrays
    from suite.errors import SuiteError as SuiteError
    from suite.errors import Unsupported as Unsupported
    from suite.export import load_model as load_model
    from suite.frames import Pictures as Pictures
    from suite.graphs import GraphNetwork as GraphNetwork
    from suite.graphs import portable as portable
    from suite.metrics import Metric as Metric
    from suite.notebook import leaderboard_frame as leaderboard_frame
    from suite.notebook import pareto_figure as pareto_figure
    from suite.notebook import results_frame as results_frame
    from suite.registry import register_method as register_method
    from suite.taskfiles import register_data as register_data
    from suite.taskfiles import register_objective as register_objective
    from suite.taskfiles import register_task as register_task
    from suite.tasks import Recipe as Recipe
    from suite.tasks import Task as Task
    from suite.workbench import Workbench as Workbench
    from suite.workbench import kept_channels as kept_channels

_PLACES = {
    "register_model": "models",
    "Range": "suite.bounds",
    "Arrays": "suite.data",
    "SuiteError": "suite.errors",
    "Unsupported": "suite.errors",
    "load_model": "suite.export",
    "Pictures": "suite.frames",
    "GraphNetwork": "suite.graphs",
    "portable": "suite.graphs",
    "Metric": "suite.metrics",
    "leaderboard_frame": "suite.notebook",
    "pareto_figure": "suite.notebook",
    "results_frame": "suite.notebook",
    "register_method": "suite.registry",
    "register_data": "suite.taskfiles",
    "register_objective": "suite.taskfiles",
    "register_task": "suite.taskfiles",
    "Recipe": "suite.tasks",
    "Task": "suite.tasks",
    "Workbench": "suite.workbench",
    "kept_channels": "suite.workbench",
}
__all__ = [
    "Arrays",
    "GraphNetwork",
    "Metric",
    "Pictures",
    "Range",
    "Recipe",
    "SuiteError",
    "Task",
    "Unsupported",
    "Workbench",
    "kept_channels",
    "leaderboard_frame",
    "load_model",
    "pareto_figure",
    "portable",
    "register_data",
    "register_method",
    "register_model",
    "register_objective",
    "register_task",
    "results_frame",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'suite' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
