"""VGG16 with batch normalisation for 32x32 images (Simonyan and Zisserman 2015, configuration D, reduced head)."""

from __future__ import annotations

import torch
from torch import nn

from models import register_model

#: Output channels of the thirteen convolutions; 0 is a 2x2 max pool.
CONFIGURATION_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class VGG(nn.Module):
    """Convolutions with bias, BatchNorm and ReLU, five max pools, then one linear layer, `head`."""

    def __init__(self, *, classes: int, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for planned in CONFIGURATION_D:
            if planned == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            out = max(1, int(planned * width))
            # Each ReLU is a module of its own: quantization's pattern matcher refuses one that is called twice.
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, 32, 32) -> (N, classes)
        features: torch.Tensor = self.features(images)
        logits: torch.Tensor = self.head(features.flatten(1))
        return logits


@register_model("vgg16")
def vgg16(*, classes: int = 10, width: float = 1.0) -> VGG:
    """VGG16 for 32x32 images: 14,728,266 parameters and 313.2 M MACs at `width` 1 and 10 classes.

    The network of the papers (model-pruning-paper, section 4.1): thirteen convolutions with bias and BatchNorm, and
    one linear layer in place of the original three. `width` scales every convolution's output channels.
    """
    return VGG(classes=classes, width=width)
