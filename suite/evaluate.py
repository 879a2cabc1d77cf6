"""What a task optimises and how a model is judged: the loss, and metrics over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from pytorch_msssim import ms_ssim, ssim  # type: ignore[import-untyped]
from torch import nn
from torch.nn.functional import cross_entropy

from suite.adversarial import METRIC, Match
from suite.cuda import full_float32
from suite.data import Dataset, Split, batches
from suite.errors import Unsupported
from suite.tasks import Recipe, Task

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Shares of 1 - SSIM and of L1 in the reconstruction loss, with which a trained network owes about half of it to each.
#: The paper gives none for its "weighted average of L1 and SSIM"; its losses (1.40 dense) are on another scale. With
#: half or more for SSIM, training stalls before it has learned brightness: SSIM's luminance term is multiplied by one
#: for structure that is near 0 at first (a hundred steps on road scenes: 14.1 dB at 0.5, 13.0 at 0.84, 20.2 at 0.15).
SSIM_SHARE, L1_SHARE = 0.15, 0.85
#: Pixels of MS-SSIM's Gaussian window. Its five scales halve 128 pixels to 8, where the usual 11 do not fit; 7 do.
MS_SSIM_WINDOW = 7
#: A squared error below that of a ten-thousandth of a grey level counts as none: 100 dB, not infinity.
LEAST_SQUARED_ERROR = 1e-10


@dataclass(frozen=True)
class Objective:
    """A kind of task: its training loss, its metrics as sums over samples, and the one that decides.

    An `adversarial` one has neither loss nor sums: its `match`, of one task, says how networks learn and are judged.
    """

    headline: str
    higher_is_better: bool
    loss: Callable[[Recipe], Loss]
    sums: Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
    batch_size: int = 250  # of evaluation
    adversarial: bool = False
    match: Match | None = None

    def of(self, task: Task) -> Objective:
        """The objective of one task, with a match of its own where it is adversarial."""
        return replace(self, match=Match(task)) if self.adversarial else self


def _classification_loss(recipe: Recipe) -> Loss:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)

    return loss


def _correct(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return {"top1": ranked[:, 0].sum(), "top5": ranked.any(dim=1).sum()}


def _reconstruction_loss(recipe: Recipe) -> Loss:
    """0.15 (1 - SSIM) + 0.85 L1 of the outputs as they are: a clamp would give those outside [0, 1] no gradient."""

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        similarity: torch.Tensor = ssim(_laid_out(outputs), _laid_out(targets), data_range=1.0)
        return SSIM_SHARE * (1 - similarity) + L1_SHARE * (outputs - targets).abs().mean()

    return loss


def _restored(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sums over images (N, 3, H, W) of the loss and its parts; outputs are clamped to [0, 1] first, as a picture is.

    `ssim` and `ms_ssim` lie in [0, 1]: an image below 0, worse than no likeness, counts as 0. `psnr` is in dB, at most
    100. Images of 96 pixels or fewer are too small for `ms_ssim`, which is left out.
    """
    shown, targets = _laid_out(outputs.clamp(0, 1)), _laid_out(targets)
    l1 = (shown - targets).abs().mean(dim=(1, 2, 3))
    squared = (shown - targets).square().mean(dim=(1, 2, 3)).clamp_min(LEAST_SQUARED_ERROR)
    similarity = ssim(shown, targets, data_range=1.0, size_average=False).clamp(0, 1)
    found = {
        "loss": SSIM_SHARE * (1 - similarity) + L1_SHARE * l1,
        "l1": l1,
        "psnr": -10 * squared.log10(),
        "ssim": similarity,
    }
    if min(shown.shape[2:]) > 16 * (MS_SSIM_WINDOW - 1):
        found["ms_ssim"] = ms_ssim(shown, targets, data_range=1.0, size_average=False, win_size=MS_SSIM_WINDOW)
        found["ms_ssim"] = found["ms_ssim"].clamp(0, 1)
    return {name: values.double().sum() for name, values in found.items()}


def _laid_out(images: torch.Tensor) -> torch.Tensor:
    """Images in the memory order whose depthwise convolution is fast on a CPU, and exact on a GPU.

    cuDNN takes channels_last ones and rounds to TF32: SSIM's variances, differences of nearly equal numbers, would
    drown. PyTorch's own kernel for contiguous ones computes in float32.
    """
    return images.contiguous(memory_format=torch.contiguous_format if images.is_cuda else torch.channels_last)


def _no_loss(recipe: Recipe) -> Loss:
    raise Unsupported("the networks of this task learn from each other: no loss of a batch is their own")


def _no_sums(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    raise AssertionError("a match judges whole splits")


OBJECTIVES: Mapping[str, Objective] = {
    "classification": Objective("top1", True, _classification_loss, _correct),
    # 32 images: at full width their largest activations take 128 MiB
    "reconstruction": Objective("loss", False, _reconstruction_loss, _restored, batch_size=32),
    "generation": Objective(METRIC, False, _no_loss, _no_sums, adversarial=True),
}


@torch.inference_mode()
def evaluate(model: nn.Module, dataset: Dataset, split: Split, objective: Objective) -> dict[str, float]:
    """Each metric of the objective over a whole split, in float32: sums over the samples, divided once at the end."""
    if objective.match is not None:
        with full_float32():
            return objective.match.evaluate(model, dataset, split)
    training = model.training
    model.eval()
    totals: dict[str, float] = {}
    with full_float32():
        for inputs, targets in batches(dataset, split, objective.batch_size):
            for name, value in objective.sums(model(inputs).float(), targets).items():
                totals[name] = totals.get(name, 0.0) + float(value)
    model.train(training)
    return {name: total / len(split) for name, total in totals.items()}
