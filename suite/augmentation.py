"""Augmentation in batches on the device: uint8 images in, uint8 images out.

What is drawn on the host goes to the device without waiting for what that still does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch.nn.functional import pad


def flip(images: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
    mirrored = (torch.rand(len(images), generator=drawn) < 0.5).to(images.device, non_blocking=True)
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def crop(images: torch.Tensor, drawn: torch.Generator, *, margin: int) -> torch.Tensor:
    """Shift each image by up to `margin` pixels either way; what comes in at the edge is reflected."""
    count, _, height, width = images.shape
    # `pad` reflects no uint8 on every device, and float16 holds 0..255 exactly
    wide = pad(images.half(), (margin,) * 4, mode="reflect").to(torch.uint8)
    top, left = torch.randint(0, 2 * margin + 1, (2, count), generator=drawn).to(images.device, non_blocking=True)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, :]
    each = torch.arange(count, device=images.device)[:, None, None]
    return wide.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)


def window(images: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
    """A square of the full height from anywhere along each image's width."""
    count, _, height, width = images.shape
    left = torch.randint(0, width - height + 1, (count,), generator=drawn).to(images.device, non_blocking=True)
    columns = (left[:, None] + torch.arange(height, device=images.device))[:, None, :]
    rows = torch.arange(height, device=images.device)[None, :, None]
    each = torch.arange(count, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)


#: Batched augmentations by name: (N, C, H, W) uint8 -> the same shape, but for `window`: (N, C, H, H).
AUGMENTATIONS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "flip": flip,
    "crop4": functools.partial(crop, margin=4),
    "crop2": functools.partial(crop, margin=2),
    "window": window,
}
