"""Branches with an alpha schedule: a narrow branch beside each layer takes over from it, and is merged into it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from methods._branches import BranchedNetwork, merge_relative_error
from methods._regions import Region, find_regions, trace
from methods._schedules import alphas, share_epochs
from suite import Unsupported, Workbench, register_method

#: `update_original="late"` lets the original learn from this alpha on.
LATE = 0.1
#: Images on which the merge is checked.
CHECKED = 16
PARTS = {
    "simultaneous": ("",),
    "encoder-first": ("encoder", "decoder"),
    "decoder-first": ("decoder", "encoder"),
}


@dataclass(frozen=True)
class Level:
    """Training at one alpha: `epochs` of the full profile with `lr` as the peak; `restart` counts those at zero."""

    alpha: float
    epochs: float
    lr: float
    restart: int = 0


@register_method(
    "branch-alpha",
    family="structured pruning",
    paper="Gschossmann 2021, Model Pruning",
    points=[{"channel_ratio": 22 / 64}, {"channel_ratio": 0.7}, {"channel_ratio": 0.5}, {"channel_ratio": 0.59}],
)
def branch_alpha(
    model: nn.Module,
    bench: Workbench,
    *,
    channel_ratio: float = 0.34375,
    schedule: Literal[
        "step", "exponential", "multiplicative", "time-based", "cosine", "jump", "weekly-report-5"
    ] = "step",
    size: float = 0.1,
    rate: float = 0.05,
    levels: int = 10,
    total_epochs: int = 45,
    epochs: int | None = None,
    lr: float = 0.01,
    lr_schedule: Literal["plateau", "cosine"] = "cosine",
    restarts: str = "0.001,0.01,0.1",
    restart_epochs: str = "10,20,80",
    merge: Literal["before-restarts", "after-restarts"] = "before-restarts",
    update_original: Literal["always", "late", "never"] = "always",
    regress_logits: bool = False,
    noise: float = 0.0,
    noise_share: float = 0.5,
    weight_decay: float | None = None,
    early_stop: int | None = None,
    order: Literal["simultaneous", "encoder-first", "decoder-first"] = "simultaneous",
    blocks: Literal["whole", "inner"] = "whole",
    spare: str = "",
) -> nn.Module:
    """A parallel branch of a predefined width takes over from each layer as alpha falls from 1 to 0 (sections 2, 4).

    Beside each convolution of N output channels, and what follows it up to the next one, a branch of M < N channels is
    added. ConvA (1x1, N to M) comes right after the convolution, then BatchNorm, ReLU and pooling as in the original
    but with values of their own, then ConvB (1x1, M to N) right before the next convolution, which gets alpha *
    original + (1 - alpha) * branch. No non-linearity stands at the branch's ends, so at alpha = 0, when the original
    is dropped, ConvA is folded into the convolution before it and ConvB into the one after it: a network of the
    original's kind with M channels everywhere, which needs no choice of filters. The paper took VGG16 on CIFAR-10 from
    92 % to 88.5 % this way at 22 of 64 channels; accuracy held until alpha reached zero, fell by six points there, and
    came back by restarting with higher learning rates. What made the method work at all was to let the original's
    weights learn too. The curve has the validation score at every alpha.

    Where we differ. **Our merge is exact**: the paper's reconstructions changed in it (section 4.2.2). The trap is a
    bias before zero padding: ConvB's would be added at the image's border before the fold but not after it, so ConvB
    has none. The fold is computed in float64, checked on training images, and refused where outputs move by more than
    1e-4 of the largest; each record has its `merge_relative_error`. **Blocks**: where outputs meet in a residual sum
    or a concatenation, their branches meet in one of their own, with a ConvB for every reader, so ResNet and GoogLeNet
    become as narrow everywhere as by removing channels. **Learning rates** are higher than the paper's 0.001 and
    fall along a cosine, as Weekly report 5 recommends; the best of the restarts by validation score is kept.

    **Epochs**: we spend most at zero. What a network learns above it is hardly carried over: a tenth of the original is
    enough, most likely because BatchNorm takes the blend to one scale whatever its parts weigh. VGG16 at a quarter of
    its width had 77.9 % of the validation images right at alpha = 0.1 and fell to chance at zero; with the levels'
    epochs spent at zero it ended 0.1 to 0.9 points higher (three seeds, which decide nothing). Levels without an epoch
    keep the BatchNorm statistics of the level before. We also merge before the restarts, not after: the two networks
    compute the same, the merged one trains eight times as fast, and it ended 1.8 to 2.7 points higher (three seeds).

    - `channel_ratio`: M / N, the share of output channels kept, 0 to 1. 22/64 is the paper's target: 65.625 % of the
      channels removed, 11.8 % of VGG16's parameters left; 0.59 leaves its "35 % of the size".
    - `schedule`: alpha at level k, from k = 0: `step` 1 - `size` k; `exponential` exp(-`rate` k); `multiplicative`
      0.5^k; `time-based` 1 / (1 + 0.5 k); `cosine` (1 + cos(pi k / `levels`)) / 2; `jump` 1, 0.1, then exponential
      with rate 0.5 (the paper's outlook, which names no rate). What would be below 0.05 is 0. `weekly-report-5` is
      what that report did: exponential with 0.05 down to 0.4, then with 0.5 until 0.018, then 0 (its network at 0 went
      on from the one of 0.05). Cosine is in no document, nor are the factors of multiplicative and time-based.
    - `total_epochs`: training above alpha = 0, in epochs of the full profile, divided equally among the levels, so
      that schedules compare at one total; a level that is left without a whole epoch is only evaluated.
    - `epochs`: where given, for each level instead (the paper: at most 35).
    - `lr`, `lr_schedule`: peak learning rate of each level (the paper: 0.001), and how it falls. `plateau`, the
      paper's, divides it by ten when the validation score stagnates; factor, patience and score are ours (Weekly report
      5 watches the validation loss).
    - `restarts`, `restart_epochs`: the trainings at alpha = 0, one after the other: learning rates and epochs (the
      paper: 74 in all).
    - `merge`: before the trainings at alpha = 0 or, as the paper did, after them.
    - `update_original`: do the original's weights learn? `always`, from the start; `late`, from alpha 0.1 on; `never`,
      not even at zero: then only the branches do, the original's BatchNorms keep their statistics, and the merge comes
      after the restarts whatever `merge` says.
    - `regress_logits`: the dense network's outputs are the targets, with the mean squared difference as the loss.
    - `noise`, `noise_share`: standard deviation, in units of the normalised images, of Gaussian noise on that share of
      the training images (the paper's attempt: half of them).
    - `weight_decay`: in place of the recipe's (the paper: 1e-4).
    - `early_stop`: end a level after so many epochs without a better validation score. Off, because the paper's first
      attempts stopped too early at each level and fell to 81 % at alpha = 0.3 (section 4.1.1).
    - `order`: for an autoencoder, all at once, or all levels down to the merge for one half and then for the other, at
      twice the epochs. What crosses the seam is of the half that writes it first: the bottleneck is the encoder's.
    - `blocks`: with `inner`, sums and concatenations keep their channels, and only layers inside a block are pruned.
    - `spare`: layers left as they are, inputs and outputs: kinds, paths, or beginnings of paths, with commas between.
      `ConvTranspose2d` spares transposed convolutions and the layers before them (Weekly report 6, section 2.2).
    """
    if not 0 < channel_ratio <= 1:
        raise Unsupported(f"channel_ratio {channel_ratio} is outside (0, 1]: it is the share of channels kept")
    if noise < 0 or not 0 <= noise_share <= 1:
        raise Unsupported(f"noise {noise} and noise_share {noise_share}: at least 0, and a share of the images")
    plan = _plan(
        alphas(schedule, size=size, rate=rate, levels=levels),
        total_epochs=total_epochs,
        epochs=epochs,
        lr=lr,
        restarts=_numbers("restarts", restarts),
        restart_epochs=_numbers("restart_epochs", restart_epochs),
        profile_share=bench.recipe.finetune_share,
    )
    parts = PARTS[order]
    if parts != ("",) and not all(isinstance(getattr(model, part, None), nn.Module) for part in parts):
        raise Unsupported(f"order {order}: the network has no encoder and decoder to prune one after the other")
    teacher = copy.deepcopy(model).eval() if regress_logits else None

    def train(network: nn.Module, level: Level, label: str) -> None:
        bench.finetune(
            network,
            epochs=level.epochs,
            lr=level.lr,
            schedule=lr_schedule,
            weight_decay=weight_decay,
            teacher=teacher,
            transform=_noisy(noise, noise_share) if noise > 0 else None,
            patience=early_stop,
            label=label,
        )

    bench.log(step=0, alpha=1.0, epochs=0, val=bench.evaluate(model))
    errors = []
    for part in parts:
        traced = trace(model, bench.example_input)
        found, left = find_regions(traced, model.head, spare=spare, blocks=blocks)  # type: ignore[arg-type]
        regions = [region for region in found if _half(region) == part or not part]
        if not regions:
            reasons = "; ".join(f"{path}: {reason}" for path, reason in list(left.items())[:3])
            raise Unsupported(f"no layer {f'of the {part} ' if part else ''}can be given a branch ({reasons})")
        branched = BranchedNetwork(model, traced, regions, channel_ratio=channel_ratio, rng=bench.rng)
        _lower_alpha(branched, bench, plan, train, update_original=update_original, part=part)
        if merge == "after-restarts" or update_original == "never":
            _restart(branched, bench, plan, train, part=part)
            model, error = _merge(branched, model, bench)
        else:
            model, error = _merge(branched, model, bench)
            _restart(model, bench, plan, train, part=part)
        errors.append(error)
    bench.report(merge_relative_error=max(errors))
    return model


def _plan(
    found: Sequence[float],
    *,
    total_epochs: int,
    epochs: int | None,
    lr: float,
    restarts: Sequence[float],
    restart_epochs: Sequence[float],
    profile_share: float,
) -> tuple[Level, ...]:
    """What is trained at which alpha; `profile_share` of an epoch of the full profile is one of this profile's."""
    if len(restarts) != len(restart_epochs):
        raise Unsupported(f"{len(restarts)} restarts, but {len(restart_epochs)} restart_epochs: one for each is needed")
    if min((total_epochs, epochs or 0, *restart_epochs)) < 0 or min((lr, *restarts)) <= 0:
        raise Unsupported("epochs must not be negative, and learning rates must be positive")
    above = found[1:-1]  # at alpha = 1 the branch has no effect
    if epochs is None:
        # whole epochs of this profile: at the quick profile's tenth, 59 levels still cost nine epochs
        whole = share_epochs(max(1, round(total_epochs * profile_share)) if total_epochs else 0, len(above))
        shares: Sequence[float] = [each / profile_share for each in whole]
    else:
        shares = [epochs] * len(above)
    levels = [Level(alpha, share, lr) for alpha, share in zip(above, shares, strict=True)]
    again = zip(restarts, restart_epochs, strict=True)
    return (*levels, *(Level(0.0, count, peak, restart) for restart, (peak, count) in enumerate(again, start=1)))


Trainer = Callable[[nn.Module, Level, str], None]


def _lower_alpha(
    branched: BranchedNetwork,
    bench: Workbench,
    plan: Sequence[Level],
    train: Trainer,
    *,
    update_original: str,
    part: str,
) -> None:
    """Alpha from one to zero, training at each level above zero; at zero the originals are dropped."""
    for level in plan:
        if level.alpha > 0:
            branched.set_alpha(level.alpha)
            branched.freeze_originals(update_original == "never" or (update_original == "late" and level.alpha > LATE))
            train(branched, level, f"{part} alpha {level.alpha:.3g}".strip())
            _note(branched, level, bench, part)
    branched.set_alpha(0.0)
    branched.freeze_originals(update_original == "never")


def _restart(network: nn.Module, bench: Workbench, plan: Sequence[Level], train: Trainer, *, part: str) -> None:
    """The trainings at alpha = 0, one after the other; the best by validation score is kept."""
    best, weights = _note(network, Level(0.0, 0, 0.0), bench, part), _state(network)
    for level in plan:
        if level.alpha == 0:
            train(network, level, f"{part} alpha 0".strip())
            score = _note(network, level, bench, part)
            if score >= best:
                best, weights = score, _state(network)
    network.load_state_dict(weights)
    network.eval()


def _note(network: nn.Module, level: Level, bench: Workbench, part: str) -> float:
    """Log a network's validation score after a level, and return it."""
    trained = {"lr": level.lr} if level.epochs else {}
    restart = {"restart": level.restart} if level.restart else {}
    where = {"part": part} if part else {}
    score = bench.evaluate(network)
    epochs = round(level.epochs, 6)
    bench.log(step=len(bench.curve), alpha=level.alpha, val=score, epochs=epochs, **trained, **restart, **where)
    return score


def _merge(branched: BranchedNetwork, model: nn.Module, bench: Workbench) -> tuple[nn.Module, float]:
    """The network without branches, and how far its outputs are from those of the one that has them."""
    merged = branched.merged(model)
    inputs, _ = next(bench.calibration_batches(1))
    return merged, merge_relative_error(branched, merged, inputs[:CHECKED])


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _half(region: Region) -> str:
    """The half of an autoencoder whose layer writes a region's channels first."""
    return str(region.sources[0].target).partition(".")[0]


def _noisy(std: float, share: float) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    def add_noise(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.rand(len(inputs), 1, 1, 1, generator=generator) < share
        return inputs + (std * chosen * torch.randn(inputs.shape, generator=generator)).to(inputs)

    return add_noise


def _numbers(name: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(each) for each in text.split(",") if each.strip())
    except ValueError:
        raise Unsupported(f"{name}={text}: numbers with commas between are needed, such as 0.001,0.01,0.1") from None
