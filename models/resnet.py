"""ResNet18 for 32x32 images (He et al. 2016, arXiv:1512.03385, with the 3x3 stem that CIFAR images need)."""

from __future__ import annotations

import torch
from torch import nn

from models import register_model

#: Output channels of the four stages, two blocks each; every stage but the first halves height and width.
STAGES = (64, 128, 256, 512)


def _convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps height and width but for its stride, and its BatchNorm, whose shift is the bias."""
    return [nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(out)]


class Block(nn.Module):
    """Two 3x3 convolutions added to a shortcut: the input itself, or a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        super().__init__()
        # Each ReLU is a module of its own: quantization's pattern matcher refuses one that is called twice.
        self.residual = nn.Sequential(
            *_convolution(channels, out, 3, stride=stride), nn.ReLU(inplace=True), *_convolution(out, out, 3)
        )
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(channels, out, 1, stride=stride))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (N, channels, H, W) -> (N, out, H/stride, W/stride)
        activated: torch.Tensor = self.relu(self.residual(features) + self.shortcut(features))
        return activated


class ResNet(nn.Module):
    """A 3x3 stem, four stages of two blocks, the mean over height and width, then one linear layer, `head`."""

    def __init__(self, *, classes: int, width: float, stem_pool: bool) -> None:
        super().__init__()
        widths = [max(1, int(planned * width)) for planned in STAGES]
        channels = widths[0]
        stem: list[nn.Module] = [*_convolution(3, channels, 3), nn.ReLU(inplace=True)]
        if stem_pool:
            stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.stem = nn.Sequential(*stem)
        blocks: list[nn.Module] = []
        for stage, out in enumerate(widths):
            blocks += [Block(channels, out, stride=1 if stage == 0 else 2), Block(out, out, stride=1)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, 32, 32) -> (N, classes)
        features: torch.Tensor = self.pool(self.blocks(self.stem(images)))
        logits: torch.Tensor = self.head(features.flatten(1))
        return logits


@register_model("resnet18")
def resnet18(*, classes: int = 10, width: float = 1.0, stem_pool: bool = False) -> ResNet:
    """ResNet18 for 32x32 images: 11,173,962 parameters and 555.4 M MACs at `width` 1 and 10 classes.

    The stem is one 3x3 convolution, so the four stages see 32, 16, 8 and 4 pixels a side. With `stem_pool` a 3x3 max
    pool of stride 2 follows it, as in the original network for larger images: half as many pixels a side from there
    on, and 140.2 M MACs. That is the network of resnet18-global-pruning-report. `width` scales every convolution's
    output channels.
    """
    return ResNet(classes=classes, width=width, stem_pool=stem_pool)
