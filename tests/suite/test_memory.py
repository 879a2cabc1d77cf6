"""Peak memory of a fresh process, against allocations of known size."""

import functools
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from suite import artifacts, child, memory, registry
from suite.errors import Unsupported

MIB = 2**20
HALF = {"classes": 10, "width": 0.5}
needs_proc = pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="no /proc/self/clear_refs")


def architecture(width: float) -> Mapping[str, Any]:
    options = {"classes": 10, "width": width}
    model = registry.build_model("vgg16", options)
    found: dict[str, Any] = msgspec.to_builtins(
        artifacts.describe(model, name="vgg16", options=options, input_shape=(3, 32, 32))
    )
    return found


def ask(width: float, batch_size: int) -> memory.Ask:
    return memory.Ask(None, architecture(width), batch_size, 1, "cpu")


@needs_proc
def test_known_allocation_is_seen_within_two_megabytes() -> None:
    nothing = child.run(memory.high_water, np.ones, 1, seconds=120)
    for size in (16 * MIB, 100 * MIB):
        found = child.run(memory.high_water, np.ones, size // 8, seconds=120)
        assert found - nothing == pytest.approx(size, abs=2e6)


@needs_proc
def test_mark_forgets_what_was_freed_before() -> None:
    before = memory.high_water(np.ones, 1)
    memory.high_water(np.ones, 200 * MIB // 8)
    assert memory.high_water(np.ones, 1) < before + 20 * MIB


@needs_proc
def test_weights_of_a_network_are_inside_the_number() -> None:
    # 14,728,266 parameters and 8,461 buffers at full width, 4 bytes each: 58.9 MB. Activations are small at batch 1.
    full, quarter = (memory.measure(ask(width, 1), seconds=120) for width in (1.0, 0.25))
    assert full.weights == quarter.weights == "random"
    assert 58.9e6 < full.peak_bytes < 58.9e6 + 25e6
    assert quarter.peak_bytes < 58.9e6 / 16 + 12e6


@needs_proc
def test_activations_of_a_batch_are_inside_the_number() -> None:
    one, many = (memory.measure(ask(0.25, batch_size), seconds=120) for batch_size in (1, 64))
    # The widest pair of layers holds two tensors of 64 x 16 x 32 x 32 floats, 4.2 MB each, beside the input of 0.8 MB.
    assert many.peak_bytes - one.peak_bytes > 2 * 4.1e6


@needs_proc
def test_same_network_takes_the_same_memory_twice() -> None:
    first, second = (memory.measure(ask(0.25, 16), seconds=120).peak_bytes for _ in range(2))
    assert first == pytest.approx(second, abs=2e6)


@needs_proc
def test_network_that_is_too_small_to_be_measured_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "RESOLUTION_BYTES", 10**12)
    with pytest.raises(child.ChildFailed, match="too little to be measured") as caught:
        memory.measure(ask(0.05, 1), seconds=120)
    assert caught.value.status == "unsupported"


def test_system_without_the_mark_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", Path("/nowhere/clear_refs"))
    with pytest.raises(Unsupported, match="cannot be reset here"):
        memory.high_water(len, ())


def test_a_compiled_network_is_not_compiled_again_while_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As graphs alone, without the code generator, which takes a minute: what matters is what is traced when."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    passes = memory._forward_passes(replace(ask(0.05, 1), backend="compile", cache=tmp_path))
    traced = dict(counters["stats"])
    assert traced["unique_graphs"] == 1
    passes.run()
    assert dict(counters["stats"]) == traced


@needs_proc
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_peak_is_what_the_network_holds_at_once() -> None:
    """Weights, the input, the two largest activations beside each other, and a little scratch space of the kernels: not
    what a heap keeps of freed ones, which made it 1.6 times as much.
    """
    batch, channels, weights = 64, 32, 4 * sum(p.numel() for p in registry.build_model("vgg16", HALF).parameters())
    activation = 4 * batch * channels * 32 * 32
    held = weights + 4 * batch * 3 * 32 * 32 + 2 * activation
    assert held < memory.measure(ask(0.5, batch), seconds=120).peak_bytes < 1.2 * held
