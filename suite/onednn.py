"""Around a fault of oneDNN, the library behind torch's convolutions on x86 processors.

Where a processor has AVX2 and no AVX-512, the gradient of a strided 1x1 convolution's weights is written past the end
of its buffer if the images are channels_last and have fewer than eight channels (uxlfoundation/oneDNN issue 6035; seen
in torch 2.15). A ResNet whose shortcuts were pruned that far aborts, or goes on with wrong numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

#: oneDNN's block of input channels under AVX2: with as many or more nothing is wrong.
BLOCK = 8
OPERATOR = "aten::convolution_backward"
#: What torch may call the instructions of a processor on which oneDNN chooses the faulty kernel.
AFFECTED = ("AVX2", "DEFAULT")


def is_faulty(weight: torch.Tensor, stride: list[int]) -> bool:
    """Is a convolution of `weight` (out, in, ...) one of those whose gradient is wrong on channels_last images?"""
    return weight.shape[1] < BLOCK and max(stride) > 1 and all(size == 1 for size in weight.shape[2:])


@functools.lru_cache(maxsize=1)
def avoid_fault() -> torch.library.Library | None:
    """From here on, such convolutions find their gradients in the contiguous layout, where they are right.

    It holds for the whole process, so also for a method's own loops; again changes nothing. None where the processor
    cannot be affected. Of a convolution that is not, a backward pass costs some microseconds more.
    """
    if torch.backends.cpu.get_cpu_capability() not in AFFECTED:
        return None
    torchs = torch.library.get_kernel(OPERATOR, "CPU")

    def backward(keys: Any, gradient: Any, inputs: Any, weight: Any, sizes: Any, stride: Any, *others: Any) -> Any:
        if is_faulty(weight, stride):
            # a copy, since a 1x1 weight is contiguous and channels_last at once, and torch would take it for the latter
            plain = torch.contiguous_format
            gradient, inputs, weight = (each.clone(memory_format=plain) for each in (gradient, inputs, weight))
        return torchs.call_boxed(keys, gradient, inputs, weight, sizes, stride, *others)

    ours = torch.library.Library("aten", "IMPL")  # its operators are torch's own again when it is collected
    ours.impl(OPERATOR.removeprefix("aten::"), backward, "CPU", with_keyset=True, allow_override=True)
    return ours
