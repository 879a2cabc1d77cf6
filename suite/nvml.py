"""What NVIDIA's driver tells of a GPU: clock, temperature, reasons to slow down, energy, memory. No torch."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from suite.errors import Unsupported

#: nvml.h: NVML_CLOCK_SM and NVML_TEMPERATURE_GPU.
_SM, _GPU_TEMPERATURE = 1, 0
#: nvml.h, nvmlClocksThrottleReasons: the bits that mean "slower than it would like to be". An idle GPU and a clock that
#: somebody set are no throttling.
SLOWED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "synchronised boost",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}


class Gpu:
    """One GPU. Every question raises Unsupported where the driver does not answer it."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    def sm_mhz(self) -> int:
        """The clock of its multiprocessors now."""
        return int(self._ask("nvmlDeviceGetClockInfo", _SM))

    def celsius(self) -> int:
        return int(self._ask("nvmlDeviceGetTemperature", _GPU_TEMPERATURE))

    def slowed(self) -> int:
        """Why it runs slower than it could, as the bits of `SLOWED` (0: it does not)."""
        try:
            found = self._ask("nvmlDeviceGetCurrentClocksEventReasons")  # its name since driver 535
        except Unsupported:
            found = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return int(found) & sum(SLOWED)

    def joules(self) -> float:
        """What the whole board has used since the driver was loaded; Volta and later."""
        return int(self._ask("nvmlDeviceGetTotalEnergyConsumption")) / 1e3

    def process_bytes(self, pid: int) -> int:
        """Its memory that the driver counts as one process's, the CUDA context and libraries' code included.

        In a container the driver may know the process by another number, or none of them.
        """
        for process in self._ask("nvmlDeviceGetComputeRunningProcesses"):
            if process.pid == pid and process.usedGpuMemory:
                return int(process.usedGpuMemory)
        raise Unsupported("NVML does not tell the memory of this process (usual in a container)")

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._library, name)(self._handle, *arguments)
        except (self._library.NVMLError, AttributeError) as error:
            raise Unsupported(f"NVML does not answer {name}: {error}") from error


@contextlib.contextmanager
def gpu(uuid: str | None = None, *, library: Any = None, environment: Mapping[str, str] = os.environ) -> Iterator[Gpu]:
    """The GPU of that UUID (`GPU-...`), or the first that CUDA_VISIBLE_DEVICES leaves visible.

    Unsupported, with the remedy, where NVML or the GPU is not there. `library` stands in for pynvml.
    """
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError as error:
            raise Unsupported("NVML is not there: pip install nvidia-ml-py") from error
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise Unsupported(f"NVML is not there: {error}; it comes with the NVIDIA driver") from error
    try:
        name = uuid or environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
        try:
            if name.isdigit():
                handle = library.nvmlDeviceGetHandleByIndex(int(name))
            else:
                handle = library.nvmlDeviceGetHandleByUUID(name.encode())
        except library.NVMLError as error:
            raise Unsupported(f"NVML does not know the GPU {name}: {error}") from error
        yield Gpu(library, handle)
    finally:
        with contextlib.suppress(library.NVMLError):
            library.nvmlShutdown()
