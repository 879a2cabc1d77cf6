"""The DCGAN of the paper's outlook (model-pruning-paper, section 5.2) for images of 32x32: Radford et al. 2016."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from models import register_model

SIDE = 32  # pixels of an image's height and width
PIXELS = 3 * SIDE * SIDE


class Generator(nn.Module):
    """Latent vectors (N, latent, 1, 1) -> images (N, 3, 32, 32) in [-1, 1], by four transposed convolutions."""

    def __init__(self, *, latent: int, base: int) -> None:
        super().__init__()
        self.rise = nn.Sequential(
            nn.ConvTranspose2d(latent, 4 * base, 4, bias=False), nn.BatchNorm2d(4 * base), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(4 * base, 2 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * base),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * base, base, 4, 2, 1, bias=False), nn.BatchNorm2d(base), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.head = nn.ConvTranspose2d(base, 3, 4, 2, 1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.head(self.rise(latents)))


class Discriminator(nn.Module):
    """Images (N, 3, 32, 32) in [-1, 1] -> logits (N, 1, 1, 1), above 0 for real ones; by four strided convolutions."""

    def __init__(self, *, base: int) -> None:
        super().__init__()
        self.fall = nn.Sequential(
            nn.Conv2d(3, base, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(base, 2 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * base), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * base, 4 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * base),
            nn.LeakyReLU(0.2, inplace=True),
        )  # fmt: skip
        self.head = nn.Conv2d(4 * base, 1, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.fall(images))
        return logits


class Heads(tuple[nn.Module, ...]):
    """Several last layers as one `head`: it equals each of them, so that a list of what to spare names them all."""

    def __eq__(self, other: object) -> bool:
        return any(other is each for each in self)

    __hash__ = tuple.__hash__


class Pair(nn.Module):
    """Generator and discriminator side by side, neither fed by the other: (N, latent + 3072, 1, 1) -> (N, 4, 32, 32).

    A sample is a latent vector with the pixels of an image behind it; an output is the image made of the one, with the
    logit of the other as a fourth plane, the same everywhere. So one call with a single input and output runs both,
    whatever a method makes of the network, and training wires them together.
    """

    def __init__(self, *, latent: int, base: int) -> None:
        super().__init__()
        self.latent = latent
        self.generator = Generator(latent=latent, base=base)
        self.discriminator = Discriminator(base=base)

    @property
    def head(self) -> Heads:
        """The last layers of both."""
        return Heads((self.generator.head, self.discriminator.head))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        images = self.generator(samples.narrow(1, 0, self.latent))
        logits = self.discriminator(samples.narrow(1, self.latent, PIXELS).reshape(-1, 3, SIDE, SIDE))
        return torch.cat([images, logits.expand(-1, -1, SIDE, SIDE)], dim=1)


@register_model("dcgan")
def dcgan(
    *, width: float = 1.0, latent: int = 100, part: Literal["both", "generator", "discriminator"] = "both"
) -> Generator | Discriminator | Pair:
    """Radford et al. 2016 (arXiv:1511.06434), one level shorter for 32x32 pixels: 64, 128 and 256 channels.

    The generator has a tanh at its end and BatchNorm and ReLU after every other layer; the discriminator LeakyReLU of
    0.2, and BatchNorm but after its first layer and its last. Kernels are 4x4, which a stride of 2 divides, where the
    paper's are 5x5. Weights start as torch draws them, not from N(0, 0.02): the control `from-scratch` does so too.

    - `width` scales every layer's channels but the image's three, the latent vector's and the logit's.
    - `latent`: numbers in a latent vector.
    - `part`: the network that is built; the other half is then no part of it, and counts nowhere.
    """
    base = max(1, int(64 * width))
    if part == "generator":
        return Generator(latent=latent, base=base)
    return Discriminator(base=base) if part == "discriminator" else Pair(latent=latent, base=base)
