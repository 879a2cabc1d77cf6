"""What is asked of NVIDIA's driver, of one that answers and one that does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from suite import nvml
from suite.errors import Unsupported


def test_answers_are_in_base_units_and_plain(fake_nvml: Any) -> None:
    library = fake_nvml(
        nvmlDeviceGetClockInfo=1755,
        nvmlDeviceGetTemperature=61,
        nvmlDeviceGetCurrentClocksEventReasons=0x25,  # idle, power cap, too hot
        nvmlDeviceGetTotalEnergyConsumption=12_500,
        nvmlDeviceGetComputeRunningProcesses=lambda: [SimpleNamespace(pid=7, usedGpuMemory=2**20)],
    )
    with nvml.gpu(library=library) as gpu:
        assert (gpu.sm_mhz(), gpu.celsius(), gpu.joules()) == (1755, 61, 12.5)
        assert gpu.slowed() == 0x24, "an idle GPU is not slowed"
        assert gpu.process_bytes(7) == 2**20
        with pytest.raises(Unsupported, match="memory of this process"):
            gpu.process_bytes(8)
    assert library.calls[0] == ("nvmlInit",) and library.calls[-1] == ("nvmlShutdown",)


def test_refusal_names_the_question(fake_nvml: Any) -> None:
    with (
        nvml.gpu(library=fake_nvml()) as gpu,
        pytest.raises(Unsupported, match="NVML does not answer nvmlDeviceGetTotalEnergyConsumption: Not Supported"),
    ):
        gpu.joules()


def test_older_drivers_are_asked_by_the_older_name(fake_nvml: Any) -> None:
    with nvml.gpu(library=fake_nvml(nvmlDeviceGetCurrentClocksThrottleReasons=0x80)) as gpu:
        assert gpu.slowed() == 0x80


def test_machine_without_a_driver_is_unsupported_with_the_remedy(fake_nvml: Any) -> None:
    library = fake_nvml()
    del library.answers["nvmlInit"]
    with pytest.raises(Unsupported, match="NVML is not there: Not Supported; it comes with the NVIDIA driver"):
        nvml.gpu(library=library).__enter__()
    library = fake_nvml()
    del library.answers["nvmlDeviceGetHandleByIndex"]
    with pytest.raises(Unsupported, match="does not know the GPU 0"):
        nvml.gpu(library=library, environment={}).__enter__()


@pytest.mark.parametrize(
    ("visible", "uuid", "asked"),
    [
        ("", None, ("nvmlDeviceGetHandleByIndex", 0)),
        ("2,0", None, ("nvmlDeviceGetHandleByIndex", 2)),
        ("GPU-12ab, GPU-34cd", None, ("nvmlDeviceGetHandleByUUID", b"GPU-12ab")),
        ("2", "GPU-56ef", ("nvmlDeviceGetHandleByUUID", b"GPU-56ef")),
    ],
)
def test_gpu_is_the_one_that_torch_uses(fake_nvml: Any, visible: str, uuid: str | None, asked: Any) -> None:
    library = fake_nvml(nvmlDeviceGetHandleByUUID="another")
    with nvml.gpu(uuid, library=library, environment={"CUDA_VISIBLE_DEVICES": visible}):
        assert asked in library.calls
