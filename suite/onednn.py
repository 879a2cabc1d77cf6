"""Around a fault of oneDNN, the library behind torch's convolutions on x86 processors.

The gradient of a strided 1x1 convolution's weights is written past the end of its buffer if the images are
channels_last and have fewer channels than a block: eight with AVX2, sixteen with AVX-512 (uxlfoundation/oneDNN issue
6035; seen here in torch 2.15 with AVX2). A ResNet whose shortcuts were pruned that far aborts, or goes on with wrong
numbers.
"""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch

#: The largest block of input channels: with as many or more nothing is wrong.
BLOCK = 16
OPERATOR = "aten::convolution_backward"
X86 = ("x86_64", "AMD64")


def is_faulty(weight: torch.Tensor, stride: list[int]) -> bool:
    """May the weight's gradient be wrong on channels_last images, for a convolution of `weight` (out, in, ...)?"""
    return weight.shape[1] < BLOCK and max(stride) > 1 and all(size == 1 for size in weight.shape[2:])


@functools.lru_cache(maxsize=1)
def avoid_fault() -> torch.library.Library | None:
    """From here on, such convolutions find their weights' gradients in the contiguous layout, where they are right.

    It holds for the whole process, so also for a method's own loops; again changes nothing. None where the processor is
    no x86 one. The backward pass of every other convolution costs 0.04 ms more.
    """
    if platform.machine() not in X86:
        return None
    torchs = torch.library.get_kernel(OPERATOR, "CPU")

    def backward(keys: Any, gradient: Any, inputs: Any, weight: Any, sizes: Any, stride: Any, *others: Any) -> Any:
        *how, wanted = others
        if not (wanted[1] and is_faulty(weight, stride)):
            return torchs.call_boxed(keys, gradient, inputs, weight, sizes, stride, *others)
        first = torchs.call_boxed(keys, gradient, inputs, weight, sizes, stride, *how, [wanted[0], False, False])
        # a copy, since a 1x1 weight is contiguous and channels_last at once, and torch would take it for the latter
        plain = [each.clone(memory_format=torch.contiguous_format) for each in (gradient, inputs, weight)]
        rest = torchs.call_boxed(keys, *plain, sizes, stride, *how, [False, *wanted[1:]])
        return first[0], *rest[1:]

    ours = torch.library.Library("aten", "IMPL")  # its operators are torch's own again when it is collected
    ours.impl(OPERATOR.removeprefix("aten::"), backward, "CPU", with_keyset=True, allow_override=True)
    return ours
