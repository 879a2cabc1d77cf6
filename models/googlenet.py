"""GoogLeNet with batch normalisation for 32x32 images (Szegedy et al. 2015, arXiv:1409.4842; BatchNorm and the factored
5x5 convolutions of arXiv:1502.03167)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from models import register_model

#: Output channels of the three 3x3 convolutions before the first inception block.
STEM = (64, 64, 192)


class Branches(NamedTuple):
    """Output channels of an inception block's convolutions, in the columns of Szegedy et al., Table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int

    def scaled(self, width: float) -> Branches:
        return Branches(*(max(1, int(planned * width)) for planned in self))

    @property
    def out(self) -> int:
        return self.one + self.three + self.five + self.pool


#: The nine inception blocks, 3a to 5b; None is a max pool that halves height and width.
BLOCKS = (
    Branches(64, 96, 128, 16, 32, 32),
    Branches(128, 128, 192, 32, 96, 64),
    None,
    Branches(192, 96, 208, 16, 48, 64),
    Branches(160, 112, 224, 24, 64, 64),
    Branches(128, 128, 256, 24, 64, 64),
    Branches(112, 144, 288, 32, 64, 64),
    Branches(256, 160, 320, 32, 128, 128),
    None,
    Branches(256, 160, 320, 32, 128, 128),
    Branches(384, 192, 384, 48, 128, 128),
)


def _convolutions(channels: int, *layers: tuple[int, int]) -> list[nn.Module]:
    """A chain of (output channels, kernel size), each with bias, BatchNorm and ReLU; height and width stay.

    Each ReLU is a module of its own: quantization's pattern matcher refuses one that is called twice.
    """
    found: list[nn.Module] = []
    for out, kernel in layers:
        found += [nn.Conv2d(channels, out, kernel, padding=kernel // 2), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        channels = out
    return found


class Inception(nn.Module):
    """Four branches side by side, concatenated: 1x1; 1x1 and 3x3; 1x1 and a 5x5 made of two 3x3; max pool and 1x1."""

    def __init__(self, channels: int, widths: Branches) -> None:
        super().__init__()
        self.one = nn.Sequential(*_convolutions(channels, (widths.one, 1)))
        self.three = nn.Sequential(*_convolutions(channels, (widths.three_reduce, 1), (widths.three, 3)))
        # The first of the two 3x3 widens already: only so does the network have the report's number of parameters.
        self.five = nn.Sequential(*_convolutions(channels, (widths.five_reduce, 1), (widths.five, 3), (widths.five, 3)))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_convolutions(channels, (widths.pool, 1)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (N, channels, H, W) -> (N, widths.out, H, W)
        branches = (self.one(features), self.three(features), self.five(features), self.pool(features))
        return torch.cat(branches, dim=1)


class GoogLeNet(nn.Module):
    """Three 3x3 convolutions, a max pool, nine inception blocks, the mean over height and width, then `head`."""

    # No dropout before the head: its random numbers would not be those of an epoch, and a training that is
    # interrupted must go on to the same weights.
    def __init__(self, *, classes: int, width: float) -> None:
        super().__init__()
        stem = [max(1, int(planned * width)) for planned in STEM]
        self.stem = nn.Sequential(*_convolutions(3, *((out, 3) for out in stem)), nn.MaxPool2d(3, stride=2, padding=1))
        channels = stem[-1]
        blocks: list[nn.Module] = []
        for planned in BLOCKS:
            if planned is None:
                blocks.append(nn.MaxPool2d(3, stride=2, padding=1))
                continue
            widths = planned.scaled(width)
            blocks.append(Inception(channels, widths))
            channels = widths.out
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, 32, 32) -> (N, classes)
        features: torch.Tensor = self.pool(self.blocks(self.stem(images)))
        logits: torch.Tensor = self.head(features.flatten(1))
        return logits


@register_model("googlenet")
def googlenet(*, classes: int = 100, width: float = 1.0) -> GoogLeNet:
    """GoogLeNet for 32x32 images: 6,402,884 parameters and 532.0 M MACs at `width` 1 and 100 classes.

    The network of cifar100-googlenet-report ("6.4M"): convolutions with bias and BatchNorm, a stem of three 3x3
    convolutions at full resolution, no auxiliary heads, no dropout. With four fifths of every convolution's output
    channels it has the report's 4.09 M parameters. `width` scales every convolution's output channels.
    """
    return GoogLeNet(classes=classes, width=width)
