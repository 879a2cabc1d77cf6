"""The RGB autoencoder for 128x128 images (model-pruning-paper, Table 2), and its variants."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import torch
from torch import nn

from models import register_model


class Encoder(nn.Module):
    """Seven convolutions in three levels, each level with a max pool after it: (N, 3, H, W) -> (N, C, H/8, W/8)."""

    def __init__(self, *, full: int, half: int, bottleneck: int) -> None:
        super().__init__()
        self.level0 = _convolutions([3, full, full], first=0)
        self.pool0 = nn.MaxPool2d(2)
        self.level1 = _convolutions([full, half, half], first=2)
        self.pool1 = nn.MaxPool2d(2)
        self.level2 = _convolutions([half, half, half, bottleneck], first=4)
        self.pool2 = nn.MaxPool2d(2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The code, and what each level held before its pool, the largest first."""
        level0 = self.level0(images)
        level1 = self.level1(self.pool0(level0))
        level2 = self.level2(self.pool1(level1))
        return self.pool2(level2), level0, level1, level2


class Decoder(nn.Module):
    """Three transposed convolutions, each doubling height and width, and six convolutions; the head is outside."""

    def __init__(self, *, full: int, half: int, bottleneck: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        beside = (bottleneck, half, full) if skip else (0, 0, 0)
        self.up0 = _transposed(bottleneck, half, number=0)
        self.level2 = _convolutions([half + beside[0], half, half, half], first=7)
        self.up1 = _transposed(half, half, number=1)
        self.level1 = _convolutions([half + beside[1], half, full], first=10)
        self.up2 = _transposed(full, full, number=2)
        self.level0 = _convolutions([full + beside[2], full], first=12)

    def forward(
        self, code: torch.Tensor, level0: torch.Tensor, level1: torch.Tensor, level2: torch.Tensor
    ) -> torch.Tensor:
        rising = self.level2(self._join(self.up0(code), level2))
        rising = self.level1(self._join(self.up1(rising), level1))
        restored: torch.Tensor = self.level0(self._join(self.up2(rising), level0))
        return restored

    def _join(self, rising: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
        return torch.cat([rising, across], dim=1) if self.skip else rising


class Autoencoder(nn.Module):
    """Encoder, decoder, and the convolution to three channels, `head`, which nothing follows."""

    def __init__(self, *, full: int, half: int, bottleneck: int, skip: bool) -> None:
        super().__init__()
        self.encoder = Encoder(full=full, half=half, bottleneck=bottleneck)
        self.decoder = Decoder(full=full, half=half, bottleneck=bottleneck, skip=skip)
        self.head = nn.Conv2d(full, 3, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, H, W) -> (N, 3, H, W), H and W multiples of 8
        code, level0, level1, level2 = self.encoder(images)
        restored: torch.Tensor = self.head(self.decoder(code, level0, level1, level2))
        return restored


def _convolutions(channels: list[int], *, first: int) -> nn.Sequential:
    """3x3 convolutions from channel count to channel count, named as in Table 2 from conv`first` on."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(itertools.pairwise(channels), start=first):
        layers[f"conv{number}"] = nn.Conv2d(before, after, 3, padding=1)
        layers[f"norm{number}"] = nn.BatchNorm2d(after)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)  # one each: quantization refuses one that is called twice
    return nn.Sequential(layers)


def _transposed(before: int, after: int, *, number: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"trans{number}"] = nn.ConvTranspose2d(before, after, 2, stride=2)
    layers[f"norm{number}"] = nn.BatchNorm2d(after)
    layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


@register_model("autoencoder")
def autoencoder(*, width: float = 1.0, bottleneck: int = 128, skip: bool = False) -> Autoencoder:
    """The autoencoder of model-pruning-paper, Table 2: 128x128x3 -> 16x16x128 -> 128x128x3 in 4,133.5 M MACs.

    Table 2 writes Conv11, Conv13 and the transposed convolutions as in x out: Conv11 halves 128 channels to 64, Conv13
    is the head. Its caption puts BatchNorm and ReLU after each convolution, the last included, and says nothing of the
    transposed ones. Here they follow every layer but the head, which is linear and so the network's last layer: with a
    sigmoid after it, it learned more slowly (a hundred steps on road scenes: 18.3 dB, linear 20.2).

    - `width` scales every layer's channels but the head's three, `bottleneck` with them.
    - `bottleneck`: channels of the code. 256 gives that of Weekly report 6 (section 1), 16x16x256, which encodes
      3 * 128 * 128 numbers in 4/3 as many. The report has no table of layers: that Conv6 and the transposed convolution
      after it are the wider ones is our reading.
    - `skip` hands what each encoder level held before its pool to the decoder level of that size, concatenated as in
      U-Net (Ronneberger et al. 2015), rather than added: a sum would tie the channels of an encoder layer to those of
      a decoder layer, and neither could be pruned without the other. It takes 1,359 M more MACs.
    """
    full, half, code = (max(1, int(channels * width)) for channels in (64, 128, bottleneck))
    return Autoencoder(full=full, half=half, bottleneck=code, skip=skip)
