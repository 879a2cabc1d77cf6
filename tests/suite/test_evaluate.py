"""Metrics over a split: right for known answers, exact at the ragged end, and no trace left in the network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from suite.data import Dataset, Split
from suite.evaluate import OBJECTIVES, evaluate
from suite.tasks import Recipe

TOP = OBJECTIVES["classification"]


class Oracle(nn.Module):
    """Ranks classes by distance from the label that an image carries in its pixels, `shift` away from it."""

    def __init__(self, classes: int, shift: int = 0) -> None:
        super().__init__()
        self.classes, self.shift = classes, shift
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.norm(images)
        wanted = images[:, 0, 0, 0, None] + self.shift
        return -(torch.arange(self.classes)[None] - wanted).abs()


def dataset(labels: list[int], shown: list[int], classes: int = 10) -> Dataset:
    """Images whose grey level is `shown`, with the labels `labels`."""
    images = torch.tensor(shown, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    split = Split(images, torch.tensor(labels))
    zero, one = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    return Dataset("d", split, split, split, zero, one, classes, "here", "0")


def test_perfect_answers_score_one() -> None:
    found = dataset([0, 5, 9], [0, 5, 9])
    assert evaluate(Oracle(10), found, found.test, TOP) == {"top1": 1.0, "top5": 1.0}


def test_second_choices_count_for_top5_alone() -> None:
    # two off: the true class is ranked second to fifth
    found = dataset([1, 2, 3], [1, 2, 3])
    assert evaluate(Oracle(10, shift=2), found, found.test, TOP) == {"top1": 0.0, "top5": 1.0}
    assert evaluate(Oracle(10, shift=4), found, found.test, TOP)["top5"] == 0.0


def test_ragged_last_batch_weighs_by_its_samples() -> None:
    # 260 images, of which the last ten alone are right: 10/260, not the mean of batches
    found = dataset([1] * 250 + [2] * 10, [2] * 260)
    assert evaluate(Oracle(10), found, found.test, TOP)["top1"] == pytest.approx(10 / 260)


def test_only_the_split_asked_for_is_read() -> None:
    found = dataset([1], [1])
    wrong = replace(found, test=Split(found.test.images, torch.tensor([2])))
    assert evaluate(Oracle(10), wrong, wrong.val, TOP)["top1"] == 1.0
    assert evaluate(Oracle(10), wrong, wrong.test, TOP)["top1"] == 0.0


def test_fewer_than_five_classes_have_a_top5_of_one() -> None:
    found = dataset([0, 1, 2], [2, 2, 2], classes=3)
    assert evaluate(Oracle(3), found, found.test, TOP)["top5"] == 1.0


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_leaves_the_network_as_it_was(training: bool) -> None:
    found = dataset([1, 2], [1, 2])
    model = Oracle(10).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, found, found.test, TOP)
    assert model.training is training and model.norm.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_training_loss_is_cross_entropy_smoothed_as_the_recipe_says() -> None:
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    chances = logits.softmax(1)[0].log()
    assert TOP.loss(Recipe(epochs=1))(logits, labels) == pytest.approx(float(-chances[0]), rel=1e-6)
    smoothed = -(0.9 * chances[0] + 0.1 * chances.mean())
    assert TOP.loss(Recipe(epochs=1, label_smoothing=0.1))(logits, labels) == pytest.approx(float(smoothed), rel=1e-6)
