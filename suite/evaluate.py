"""What a task optimises and how a model is judged: the loss, and metrics over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from suite.data import Dataset, Split, batches
from suite.tasks import Recipe

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """A kind of task: its training loss, its metrics as sums over samples, and the one that decides."""

    headline: str
    higher_is_better: bool
    loss: Callable[[Recipe], Loss]
    sums: Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


def _classification_loss(recipe: Recipe) -> Loss:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)

    return loss


def _correct(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return {"top1": ranked[:, 0].sum(), "top5": ranked.any(dim=1).sum()}


OBJECTIVES: Mapping[str, Objective] = {
    "classification": Objective("top1", True, _classification_loss, _correct),
}


@torch.inference_mode()
def evaluate(model: nn.Module, dataset: Dataset, split: Split, objective: Objective) -> dict[str, float]:
    """Each metric of the objective over a whole split, in float32: sums over the samples, divided once at the end."""
    training = model.training
    model.eval()
    totals: dict[str, float] = {}
    for inputs, targets in batches(dataset, split, 250):
        for name, value in objective.sums(model(inputs).float(), targets).items():
            totals[name] = totals.get(name, 0.0) + float(value)
    model.train(training)
    return {name: total / len(split) for name, total in totals.items()}
