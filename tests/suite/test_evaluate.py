"""Metrics over a split: right for known answers, exact at the ragged end, and no trace left in the network."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pytorch_msssim import ms_ssim, ssim
from torch import nn

from suite.data import Dataset, Split
from suite.evaluate import L1_SHARE, OBJECTIVES, SSIM_SHARE, evaluate
from suite.tasks import Recipe

TOP = OBJECTIVES["classification"]
RESTORED = OBJECTIVES["reconstruction"]


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


def test_perfect_answers_score_exactly_one_with_a_ragged_last_batch() -> None:
    labels = [number % 10 for number in range(2 * 250 + 77)]
    found = dataset(labels, labels)
    assert evaluate(Oracle(10), found, found.test, TOP) == {"top1": 1.0, "top5": 1.0}


# ------------------------------------------------------------------------------------------------------ reconstruction


class Shift(nn.Module):
    """Returns the images, brighter by `by`."""

    def __init__(self, by: float = 0.0) -> None:
        super().__init__()
        self.by = by

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.by


def pictures(count: int = 3, size: int = 128) -> Dataset:
    """Smooth random images with values from 51 to 204."""
    drawn = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(drawn, size=(size, size), mode="bilinear")
    images = (51 + 153 * large).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    split = Split(images, torch.arange(count))
    return Dataset("p", split, split, split, torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 255.0), 0, "here", "0")


def test_perfect_reconstruction_has_no_loss_and_a_finite_psnr() -> None:
    found = pictures(40)
    judged = evaluate(Shift(), found, found.test, RESTORED)
    assert judged == {"loss": 0.0, "l1": 0.0, "psnr": pytest.approx(100), "ssim": 1.0, "ms_ssim": 1.0}


def test_constant_error_has_the_l1_and_psnr_of_arithmetic() -> None:
    found = pictures()
    judged = evaluate(Shift(0.1), found, found.test, RESTORED)
    assert judged["l1"] == pytest.approx(0.1, rel=1e-5)
    assert judged["psnr"] == pytest.approx(-20 * math.log10(0.1), rel=1e-5)
    assert judged["loss"] == pytest.approx(SSIM_SHARE * (1 - judged["ssim"]) + L1_SHARE * 0.1, rel=1e-5)


def test_likenesses_are_those_of_pytorch_msssim_and_lie_below_one() -> None:
    found = pictures()
    images = found.test.images.float() / 255
    judged = evaluate(Shift(0.1), found, found.test, RESTORED)
    assert judged["ssim"] == pytest.approx(float(ssim(images + 0.1, images, data_range=1.0)), rel=1e-4)
    assert judged["ms_ssim"] == pytest.approx(
        float(ms_ssim(images + 0.1, images, data_range=1.0, win_size=7)), rel=1e-4
    )
    assert 0.5 < judged["ssim"] < 0.999


def test_metrics_see_the_outputs_clamped_and_the_training_loss_does_not() -> None:
    found = pictures()
    targets = found.test.images.float() / 255
    far, white = targets + 3, torch.ones_like(targets)
    sums = RESTORED.sums(far, targets)
    assert sums["l1"] == pytest.approx(float(RESTORED.sums(white, targets)["l1"]))
    assert sums["l1"] < 3
    loss = RESTORED.loss(Recipe(epochs=1))
    outputs = far.clone().requires_grad_()
    loss(outputs, targets).backward()
    assert outputs.grad is not None and bool((outputs.grad != 0).all())
    assert loss(far, targets) > L1_SHARE * 2.999


def test_training_loss_and_metric_agree_within_the_range() -> None:
    found = pictures(1)
    targets = found.test.images.float() / 255
    loss = RESTORED.loss(Recipe(epochs=1))
    assert float(loss(targets + 0.05, targets)) == pytest.approx(
        float(RESTORED.sums(targets + 0.05, targets)["loss"]), rel=1e-4
    )


def test_an_image_unlike_its_original_counts_as_no_likeness_never_less() -> None:
    found = pictures()
    targets = found.test.images.float() / 255
    sums = RESTORED.sums(1 - targets, targets)
    assert sums["ssim"] >= 0 and sums["ms_ssim"] >= 0
    assert SSIM_SHARE + L1_SHARE == 1 and not RESTORED.higher_is_better


def test_ragged_last_batch_of_images_weighs_by_its_images() -> None:
    found = pictures(RESTORED.batch_size + 1)
    each = [RESTORED.sums(image[None].float() / 255 + 0.1, image[None].float() / 255) for image in found.test.images]
    judged = evaluate(Shift(0.1), found, found.test, RESTORED)
    assert judged["psnr"] == pytest.approx(sum(float(one["psnr"]) for one in each) / len(each), rel=1e-6)
    assert judged["ssim"] == pytest.approx(sum(float(one["ssim"]) for one in each) / len(each), rel=1e-5)


def test_images_too_small_for_five_scales_have_no_ms_ssim() -> None:
    assert "ms_ssim" in evaluate(Shift(0.1), pictures(1, 97), pictures(1, 97).test, RESTORED)
    assert set(evaluate(Shift(0.1), pictures(1, 96), pictures(1, 96).test, RESTORED)) == {"loss", "l1", "psnr", "ssim"}
