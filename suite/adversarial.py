"""A generator and a discriminator that learn from each other: the data they see, one training step, and their score."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.functional import softplus

from suite import complexity, features, registry
from suite.data import Dataset, Split
from suite.errors import DataError, SuiteError
from suite.tasks import Recipe, Task

METRIC = "frechet_small"
IMAGE = (3, 32, 32)
#: Latent vectors of the train, val and test splits, the same ones for every network and seed.
LATENT_SEEDS = {"train": 1, "val": 2, "test": 3}
#: Adam's learning rate as a share of a recipe's or a method's, which are for SGD: 0.1 is Radford et al.'s 0.0002.
ADAM_SHARE = 0.002
BATCH = 250  # images of an evaluation's batch
OTHER = {"generator": "discriminator", "discriminator": "generator"}
OPPONENT = "opponent"
#: How many of the networks that a method judges are kept with their opponents: more than it makes restarts.
REMEMBERED = 32


def in_and_out(task: Task) -> str:
    """What the network of an adversarial task takes, its numbers written as those of pixels are, and what it gives."""
    latent = int(task.options["latent"])
    drawn = f"a latent vector of {latent} numbers, drawn from 0 to 255 as pixels are written"
    made = "pictures from -1 to 1"
    return {
        "generator": f"an input is {drawn}; outputs are {made}",
        "discriminator": "an input is a picture; outputs are logits, above 0 where it is taken for a real one",
        "both": f"an input is {drawn}, with the {math.prod(IMAGE):,} pixels of a picture behind it; outputs are {made} "
        "with the logit of the other picture as a fourth plane",
    }[str(task.options["part"])]


class Match:
    """One task's game: the `part` of it that is compressed, and the `opponent` that is not.

    The opponent of a generator is a discriminator and the reverse; where `both` are compressed there is none. It is
    drawn when it is first asked for, and trained in place beside the network. It belongs to no network's figures: its
    parameters, MACs and bytes count nowhere but in `training_macs`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.part = str(task.options["part"])
        self.latent = int(task.options["latent"])
        self._opponent: nn.Module | None = None
        self._beside: dict[str, dict[str, torch.Tensor]] = {}  # the opponent's state, by the network judged with it
        self._taught_by: str | None = None  # the network that the opponent has learned beside; None: whichever is asked

    # ------------------------------------------------------------------------------------------------------- opponent

    @property
    def has_opponent(self) -> bool:
        return self.part in OTHER

    @property
    def opponent_task(self) -> tuple[dict[str, Any], tuple[int, int, int]]:
        """The options of the opponent's network, and its input's shape."""
        other = OTHER[self.part]
        return {**self.task.options, "part": other}, (self.latent, 1, 1) if other == "generator" else IMAGE

    @property
    def opponent(self) -> nn.Module:
        """The opponent, drawn from torch's generator if there is none yet."""
        if self._opponent is None:
            with torch.inference_mode(False):  # an evaluation may ask first; what is drawn is to be trained
                self._opponent = registry.build_model(self.task.model, self.opponent_task[0])
        return self._opponent

    @opponent.setter
    def opponent(self, network: nn.Module) -> None:
        self._opponent, self._taught_by = network, None

    def forget(self) -> None:
        """Start again: the next opponent is a new one."""
        self._opponent = self._taught_by = None

    def has_learned_beside(self, model: nn.Module | None) -> None:
        """What the opponent is from now on the opponent of; None while both are being trained."""
        self._taught_by = None if model is None or not self.has_opponent else _fingerprint(model)

    def remember(self, model: nn.Module) -> None:
        """Keep the opponent as it is now, beside the network as it is now; the last `REMEMBERED` pairs are kept."""
        if self._opponent is not None:
            judged = _fingerprint(model)
            self._beside.pop(judged, None)  # or it would keep its old place
            self._beside[judged] = {name: each.detach().clone() for name, each in self._opponent.state_dict().items()}
            if len(self._beside) > REMEMBERED:
                del self._beside[next(iter(self._beside))]

    def recall(self, model: nn.Module) -> None:
        """Take back the opponent that a network was judged with: a method may end with one that it had put aside.

        The score of a discriminator is that of its opponent's pictures, and beside another it says nothing of it. A
        network that was never judged keeps the opponent as it is.
        """
        known = self._beside.get(_fingerprint(model)) if self.has_opponent else None
        if known is not None:
            self.opponent.load_state_dict(known)
            self.has_learned_beside(model)

    # ----------------------------------------------------------------------------------------------------------- data

    def view(self, dataset: Dataset) -> Dataset:
        """The data set as its network sees it, scaled to [-1, 1]: `images` are samples, `frames` the real pictures.

        A generator's sample is a latent vector of `latent` values in 256 steps, uniform in [-1, 1] as Radford et al.'s;
        a discriminator's is a picture; that of both is a latent vector with a picture's pixels behind it.
        """
        found = tuple(dataset.train.images.shape[1:])
        if found != IMAGE:
            raise DataError(f"{dataset.source} holds images of {found}, {self.task.name} takes {IMAGE}")
        scale = torch.full((1, 1, 1, 1), 127.5, device=dataset.train.targets.device)
        train, val, test = (self._split(getattr(dataset, name), seed) for name, seed in LATENT_SEEDS.items())
        return replace(dataset, mean=scale, std=scale, train=train, val=val, test=test)

    def _split(self, split: Split, seed: int) -> Split:
        pictures = split.images
        if self.part == "discriminator":
            return Split(pictures, split.targets, pictures)
        samples = self._latents(len(split), seed).to(pictures.device)
        if self.part == "both":
            samples = torch.cat([samples, pictures.flatten(1)[:, :, None, None]], dim=1)
        return Split(samples, split.targets, pictures)

    def _latents(self, count: int, seed: int) -> torch.Tensor:
        drawn = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (count, self.latent, 1, 1), dtype=torch.uint8, generator=drawn)

    # ------------------------------------------------------------------------------------------------------- training

    def together(self, model: nn.Module, device: str) -> nn.Module:
        """All that learns, as one module."""
        return nn.ModuleList([model, self.opponent.to(device)]) if self.has_opponent else model

    def optimizer(self, together: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        """Adam over everything that learns, the recipe's momentum as its first beta (Radford et al.: 0.5)."""
        learning = [each for each in together.parameters() if each.requires_grad]
        return torch.optim.Adam(learning, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)

    def step(
        self,
        model: nn.Module,
        pictures: torch.Tensor,
        drawn: torch.Generator,
        optimizer: torch.optim.Optimizer,
        precision: Callable[[], AbstractContextManager[Any]],
    ) -> torch.Tensor:
        """One step of both at once on normalised real pictures (N, 3, 32, 32); returns the discriminator's loss.

        Goodfellow et al.'s losses (2014, arXiv:1406.2661), the generator's the one that does not saturate. Both take
        their gradients at the same point, rather than in turns, because a method may hand over a network in which the
        two halves cannot be told apart: what a generated picture should have been goes back through its pixels alone.
        """
        latents = [self._draw(len(pictures), drawn, pictures) for _ in range(2)]
        with precision():
            made, real = self._both(model, latents[0], pictures)
        made = made.float()
        shown = made.detach().requires_grad_()
        with precision():
            false = self._judged(model, shown, latents[1]).float()
        loss = softplus(-real.float()).mean() + softplus(false).mean()
        (wanted,) = torch.autograd.grad(softplus(-false).mean(), shown, retain_graph=True)
        optimizer.zero_grad(set_to_none=True)
        # a method may have frozen one of them
        roots = [(loss, None), (made, wanted)]
        live = [(root, gradient) for root, gradient in roots if root.requires_grad]
        torch.autograd.backward([root for root, _ in live], [gradient for _, gradient in live])
        optimizer.step()
        return loss.detach()

    def _draw(self, count: int, drawn: torch.Generator, like: torch.Tensor) -> torch.Tensor:
        latents = 2 * torch.rand(count, self.latent, 1, 1, generator=drawn) - 1
        return latents.to(like, non_blocking=True)  # else a GPU is waited for twice a step

    def _halves(self, model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
        """Generator and discriminator where each can be called by itself."""
        if self.part == "generator":
            return model, self.opponent
        if self.part == "discriminator":
            return self.opponent, model
        generator, discriminator = (getattr(model, name, None) for name in ("generator", "discriminator"))
        return (generator, discriminator) if _runs(generator) and _runs(discriminator) else None

    def _both(self, model: nn.Module, latents: torch.Tensor, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pictures made of latent vectors, and the logits (N,) of other pictures."""
        halves = self._halves(model)
        if halves is not None:
            return halves[0](latents), halves[1](pictures).flatten()
        outputs = model(torch.cat([latents, pictures.flatten(1)[:, :, None, None]], dim=1))
        return outputs[:, :3], outputs[:, 3, 0, 0]

    def _judged(self, model: nn.Module, pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The logits (N,) of pictures; `latents` are for a network that must make some to judge any."""
        halves = self._halves(model)
        if halves is not None:
            judged: torch.Tensor = halves[1](pictures).flatten()
            return judged
        return self._both(model, latents, pictures)[1]

    def macs(self, model: nn.Module) -> int:
        """Multiply-accumulates of a training step for one real picture, as the step above does them.

        The generator runs forward once, and back at twice that. The discriminator does so for a real and a generated
        picture, and once more back to the generated pixels: 3 G + 7 D. Where the halves cannot be told apart, both run
        whenever one is needed: at most 7 (G + D).
        """
        halves = self._halves(model)
        if halves is None:
            return 7 * complexity.macs(model, self.task.input_shape)
        return 3 * complexity.macs(halves[0], (self.latent, 1, 1)) + 7 * complexity.macs(halves[1], IMAGE)

    # --------------------------------------------------------------------------------------------------------- judging

    def _untaught(self) -> nn.Module:
        """A generator that nobody has taught, always the same one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found: nn.Module = registry.build_model(self.task.model, self.opponent_task[0])
            return found

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, dataset: Dataset, split: Split) -> dict[str, float]:
        """`frechet_small` of a split's pictures and as many generated ones, lower is better.

        A discriminator makes no pictures: it is judged by those of its opponent, which has learned from it. One that
        was changed since, by pruning it, merging its branches or taking other weights, has taught nothing yet, and is
        judged by an untrained generator's. The latent vectors are fixed (`LATENT_SEEDS`). SuiteError where the pictures
        are not finite.
        """
        generator, samples = model, split.images
        if self.part == "discriminator":
            with torch.inference_mode(False):  # moved there, too, it is to be trained
                has_taught = self._taught_by in (None, _fingerprint(model))
                generator = (self.opponent if has_taught else self._untaught()).to(split.targets.device)
            name = "val" if split is dataset.val else "test" if split is dataset.test else "train"
            samples = self._latents(len(split), LATENT_SEEDS[name]).to(split.targets.device)
        assert split.frames is not None, "the view of an adversarial task keeps the pictures"
        network = _features(split.targets.device.type)
        made, real = features.Moments(), features.Moments()
        training = generator.training
        generator.eval()
        for start in range(0, len(split), BATCH):
            batch = slice(start, start + BATCH)
            pictures = generator(dataset.normalise(samples[batch])).float()[:, :3]
            if not bool(pictures.isfinite().all()):
                raise SuiteError(f"{self.task.name}: generated pictures are not finite; lower the learning rate")
            made.add(network(pictures))
            real.add(network(dataset.normalise(split.frames[batch])))
        generator.train(training)
        return {METRIC: features.frechet((made.mean, made.covariance), (real.mean, real.covariance))}


def _fingerprint(model: nn.Module) -> str:
    """Weights and buffers of a network, as one short text."""
    found = hashlib.sha256()
    for name, each in model.state_dict().items():
        if isinstance(each, torch.Tensor):
            found.update(name.encode() + each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _runs(half: object) -> TypeGuard[nn.Module]:
    """Is it a network of its own? Of a traced one the halves are left as mere folders of their layers."""
    return isinstance(half, nn.Module) and type(half).forward is not nn.Module.forward


@functools.cache
def _features(device: str) -> features.Features:
    return features.load(device)
