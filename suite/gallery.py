"""Eight test images and what a network makes of them, as small pictures that are found by their hash."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from suite import pictures
from suite.cuda import full_float32
from suite.data import Dataset, Split, batches
from suite.errors import SuiteError

COUNT = 8
#: Data sets whose pictures may be published with results; `pictures.NOTICE` says under which terms.
PUBLISHED = ("carla", "roadscenes")


def chosen(dataset: Dataset) -> Split:
    """The images shown: eight at even distances over the test split, the first and the last among them."""
    count = min(COUNT, len(dataset.test))
    places = [number * (len(dataset.test) - 1) // max(1, count - 1) for number in range(count)]
    return Split(dataset.test.images[places], dataset.test.targets[places])


@torch.inference_mode()
def write(model: nn.Module, dataset: Dataset, folder: Path) -> list[str]:
    """Write the originals and the network's reconstructions as `<sha256>.webp`; the hashes, originals first.

    The list's second half is the reconstructions, in the order of the originals. The same images give the same bytes
    under one libwebp, so what is there already is not written again. Empty for data that is not ours to publish.
    """
    if dataset.name not in PUBLISHED:
        return []
    model.eval()
    originals, restored = [], []
    with full_float32():  # as the metrics
        for inputs, _ in batches(dataset, chosen(dataset), COUNT):
            originals += [_picture(image) for image in inputs]
            restored += [_picture(image) for image in model(inputs).float()]
    return [pictures.keep(_webp(picture), folder) for picture in originals + restored]


def _picture(image: torch.Tensor) -> Image.Image:
    """(3, H, W), clamped to 0 to 1, as an 8-bit picture."""
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().contiguous().numpy())


def _webp(picture: Image.Image) -> bytes:
    """The picture in the best quality that keeps within the limit."""
    for quality in range(95, 0, -10):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= pictures.MOST_BYTES:
            return buffer.getvalue()
    raise SuiteError(
        f"a picture of {picture.width}x{picture.height} pixels does not fit into {pictures.MOST_BYTES:,} bytes"
    )
