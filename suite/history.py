"""What a cell's trainings came to, epoch by epoch: a reader sees whether they were over when they ended."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

#: Epochs of all of a cell's trainings that its record keeps, and characters of a training's label.
MOST_EPOCHS, LONGEST_LABEL = 200, 80


class Trained(msgspec.Struct, frozen=True):
    """One training: what it was for, its peak learning rate, and a point [epoch, training loss, score] an epoch.

    Epochs are counted from 1 over all trainings of the cell. The score is the task's headline metric on the validation
    split as it is: a loss is not turned.
    """

    label: str
    lr: float
    points: list[tuple[int, float, float]]


def trained(label: str, lr: float, curve: Sequence[dict[str, float]], before: Sequence[Trained]) -> Trained:
    """A training with this `curve` of `train.Training`, after those that came `before` it."""
    done = max((point[0] for each in before[-1:] for point in each.points), default=0)
    points = [(done + epoch, point["train_loss"], point["val"]) for epoch, point in enumerate(curve, start=1)]
    return Trained(label[:LONGEST_LABEL], lr, points)


def kept(trainings: Sequence[Trained], most: int = MOST_EPOCHS) -> list[Trained]:
    """The trainings with about so many epochs in all (never twice as many), the first and the last of each among them.

    Of more trainings than half of `most`, so many are kept.
    """
    from suite.stats import thin  # numpy, which reading records does not need

    chosen = thin(trainings, most // 2)
    share = most / max(1, sum(len(each.points) for each in chosen))
    if share >= 1:
        return chosen
    return [Trained(each.label, each.lr, thin(each.points, max(2, int(len(each.points) * share)))) for each in chosen]


def epochs(trainings: Sequence[Trained]) -> list[dict[str, float]]:
    """All epochs as points of a curve: `epoch`, `train_loss`, `val`."""
    return [
        {"epoch": epoch, "train_loss": loss, "val": score} for each in trainings for epoch, loss, score in each.points
    ]
