"""The machine that measures: what it is (never its name), what it can run, and who may measure on it now. No torch."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.errors import DeviceError, RecordError, Unsupported, UsageError
from suite.files import open_regular, write_atomically
from suite.records import LONGEST_LINE, Problem, is_shallow, sha256_of

DEVICES = ("cpu", "cuda")
#: Processor features that decide which kernels run; two machines that differ in one of them are not one machine.
FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "avx_vnni",
            "asimd", "asimddp", "sve", "i8mm", "bf16")  # fmt: skip
#: What makes INT8 networks right where `int8_overflows`; a hyperparameter of the methods that calibrate.
SEVEN_BITS = "sums of INT8 products overflow in its kernels, but not those of 7 bits: --set reduce_range=true"
#: Those with which a bf16 matrix product is faster than float32's. avx512_bf16 is on AMD's processors alone: Intel's do
#: a product of twice the numbers half as often, and convert besides; a step of the autoencoder took 1.3 times as long
#: as in float32, one of VGG16 1.1 times (Emerald Rapids, AMX hidden by its virtual machine).
FAST_BF16 = {"amx_bf16", "bf16"}
#: Distributions whose versions a measurement may depend on; those not installed are left out of a record.
PACKAGES = ("torch", "torchvision", "torch-pruning", "torchao", "numpy", "scikit-learn", "pytorch-msssim", "pytest",
            "pytest-benchmark", "onnx", "onnxruntime", "triton", "nvidia-ml-py")  # fmt: skip
_NOISE_WORDS = re.compile(r"\((r|tm|c)\)|@.*$|\bwith .*$|\b\d+-core\b|\b(cpu|processor|genuine)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """The hardware as this process may use it, and the system beside it.

    `slug` is hardware words and a short hash of the hardware facts: the same for every user of one machine, and free
    of host and user names. `cores` are the logical processors that this process may use, `memory_bytes` the memory.
    """

    slug: str
    cpu: str
    architecture: str
    features: tuple[str, ...]
    caches: tuple[str, ...]
    cores: int
    memory_bytes: int
    gpus: tuple[str, ...]
    os: str
    python: str


def identity() -> Machine:
    """What this machine is. The system and Python version are told, but the slug depends on the hardware alone."""
    cpu = _cpu_name()
    features = tuple(name for name in FEATURES if name in cpu_flags())
    gpus = _gpus()
    hardware = {
        "cpu": cpu,
        "kind": [_cpuinfo(field) for field in ("cpu family", "model", "stepping", "CPU implementer", "CPU part")],
        "architecture": platform.machine(),
        "features": features,
        "caches": _caches(),
        "cores": usable_cores(),
        # The kernel keeps a little for itself, and not the same at every boot.
        "gibibytes": round(memory_bytes() / 2**30),
        "gpus": gpus,
    }
    words = [cpu, f"{usable_cores()}c", f"{hardware['gibibytes']}g", *(gpus[:1] if gpus else ())]
    return Machine(
        slug="-".join([*map(_slug, words), sha256_of(hardware)[:6]]),
        cpu=cpu,
        architecture=platform.machine(),
        features=features,
        caches=_caches(),
        cores=usable_cores(),
        memory_bytes=memory_bytes(),
        gpus=gpus,
        os=_system(),
        python=platform.python_version(),
    )


def write_machine(results: Path, machine: Machine | None = None) -> Path:
    """Describe a machine (None: this one) in `results/machines/<slug>.json`, if that differs; returns the path.

    Memory is told as the hardware hash knows it, in whole GiB, so that a reboot changes no committed file.
    """
    machine = machine or identity()
    description = asdict(machine) | {"memory_bytes": round(machine.memory_bytes / 2**30) * 2**30}
    content = json.dumps(description, indent=1, sort_keys=True).encode() + b"\n"
    path = results / "machines" / f"{machine.slug}.json"
    try:
        unchanged = path.read_bytes() == content
    except FileNotFoundError:
        unchanged = False
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    if not unchanged:
        write_atomically(path, content)
    return path


def read_description(path: Path) -> dict[str, Any]:
    """A file of `results/machines/`, which may come from strangers; RecordError says why it describes no machine."""
    try:
        if path.is_symlink():
            raise RecordError("describes no machine: a link, which is not followed")
        with open_regular(path) as file:
            content = file.read(LONGEST_LINE + 1)
        if len(content) > LONGEST_LINE:
            raise RecordError(f"describes no machine: it has over {LONGEST_LINE} bytes")
        description = json.loads(content, parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"describes no machine: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(description, dict) or not is_shallow(description):
        raise RecordError("describes no machine: no object, or one nested too deep")
    return description


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def damaged(results: Path) -> list[Problem]:
    """The files of `results/machines/` that describe no machine."""
    problems = []
    for path in sorted((results / "machines").glob("*.json")):
        try:
            if read_description(path).get("slug") != path.stem:
                raise RecordError(f"describes no machine: its slug is not {path.stem!r}")
        except RecordError as error:
            problems.append(Problem(path, 0, str(error), "machine-file"))
    return problems


def versions() -> dict[str, str]:
    """The versions on which a measurement may depend: Python, the suite, and the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in ("prunemark", *PACKAGES):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["suite" if name == "prunemark" else name] = importlib.metadata.version(name)
    return found


# ------------------------------------------------------------------------------------------------------------ hardware


def usable_cores() -> int:
    """Logical processors that this process may use: its affinity, and the CPU share of its container, rounded up."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


@functools.cache
def memory_bytes() -> int:
    """Memory in bytes, no more than the container may use; 0 where the system does not tell.

    Asked once: a virtual machine may be given more while it works, and one process has one machine in its records.
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
    limit = _read("/sys/fs/cgroup/memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def cpu_flags() -> frozenset[str]:
    """The processor's feature flags, as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def bf16_is_fast() -> bool:
    """Is bf16 arithmetic faster on this CPU than float32? Elsewhere bf16 autocast costs time instead of saving it."""
    flags = cpu_flags()
    return bool(FAST_BF16 & flags) or ("avx512_bf16" in flags and _cpuinfo("vendor_id") == "AuthenticAMD")


def int8_overflows() -> bool:
    """Does this CPU add pairs of INT8 products in 16 bits, which 8-bit activations overflow? x86 without VNNI does."""
    return "avx2" in cpu_flags() and not {"avx512_vnni", "avx_vnni"} & cpu_flags()


def _cpu_name() -> str:
    name = _cpuinfo("model name") or _cpuinfo("Model") or platform.processor() or platform.machine()
    return " ".join(name.split()) or "unknown cpu"


def _cpuinfo(field: str) -> str:
    found = re.search(rf"^{re.escape(field)}\s*:(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""


def _caches() -> tuple[str, ...]:
    """The first core's caches, such as `L2 Unified 1024K`: networks that fit and networks that don't differ."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return tuple(f"L{_read(each / 'level')} {_read(each / 'type')} {_read(each / 'size')}" for each in folders)


def _gpus() -> tuple[str, ...]:
    """NVIDIA GPUs by name, from the driver. torch is not asked: a slug must not depend on what is loaded."""
    try:
        pynvml: Any = importlib.import_module("pynvml")
    except ImportError:
        files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        return tuple(match.group(1).strip() for file in files if (match := re.search(r"Model:(.*)", _read(file))))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _system() -> str:
    # Of the kernel's release the numbers alone: builders write names of hosts and clouds behind them.
    release = re.match(r"[\d.]*", platform.release())
    system = f"{platform.system()} {release.group() if release else ''}".strip()
    with contextlib.suppress(OSError):
        system += f" ({platform.freedesktop_os_release()['PRETTY_NAME']})"
    return system


def _slug(text: str) -> str:
    words = re.findall(r"[a-z0-9.]+", _NOISE_WORDS.sub(" ", text).lower())
    return "-".join(word.strip(".") for word in words[:5] if word.strip(".")) or "unknown"


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


# ------------------------------------------------------------------------------------------------------------- devices


def require_device(device: str) -> None:
    """DeviceError where the machine lacks `device`, UsageError where there is no such kind."""
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DeviceError(
                "no CUDA device here: use --device cpu, or run on a machine with an NVIDIA GPU and its driver"
            )


@contextlib.contextmanager
def device_lock(device: str) -> Iterator[bool]:
    """Be the only one of this user's processes that measures on `device`; waits, with one line on standard error.

    Yields whether it has waited: the one before may have measured what was to be measured. The lock ends with the
    process, however that ends. It is not reentrant: whoever runs a batch of rows holds it.
    """
    path = _lock_folder() / f"{device}.lock"
    try:
        import fcntl
    except ImportError:  # not a POSIX system: nothing is locked there
        yield False
        return
    # The temporary folder and not the cache: homes are shared between machines, devices are not.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    waited = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            print(f"waiting for process {holder}, which is measuring on {device}", file=sys.stderr, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield waited
    finally:
        os.close(descriptor)


def _lock_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"prunemark-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot make the lock folder {folder}: {error.strerror}; set TMPDIR to one") from error
    if hasattr(os, "getuid") and folder.stat().st_uid != user:
        raise DeviceError(f"the lock folder {folder} belongs to somebody else: set TMPDIR to another folder")
    return folder


# -------------------------------------------------------------------------------------------------------------- doctor


def doctor() -> list[tuple[str, str]]:
    """What this machine can run, as (fact, answer) pairs to print."""
    import torch

    from suite import backends, cuda, energy

    machine = identity()
    facts = [
        ("machine", machine.slug),
        ("cpu", f"{machine.cpu}, {machine.cores} usable cores, {', '.join(machine.features) or 'features unknown'}"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("bf16 on the CPU", "trainings use it" if bf16_is_fast() else "no faster: trainings stay in float32"),
        ("INT8 engines", ", ".join(name for name in torch.backends.quantized.supported_engines if name != "none")),
        ("INT8 on the CPU", f"no VNNI: {SEVEN_BITS}" if int8_overflows() else "activations of 8 bits"),
        ("torch threads", str(torch.get_num_threads())),
        ("system", machine.os),
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            size = f"{gpu.total_memory / 2**30:.0f} GiB"
            facts.append((f"cuda:{index}", f"{gpu.name}, {size}, sm_{gpu.major}{gpu.minor}"))
    else:
        seen = f"; the driver sees {', '.join(machine.gpus)}, torch does not" if machine.gpus else ""
        facts.append(("cuda", f"no CUDA device{seen}"))
    facts += [
        (f"energy of the {name}", energy.missing(device) or "counted")
        for device, name in (("cpu", "CPU"), ("cuda", "GPU"))
    ]
    if torch.cuda.is_available():
        with cuda.watching(cuda.uuid()) as (read, reason):
            now = read() if read is not None else None
            facts.append(("clock of the GPU", reason if now is None else f"watched, {now.sm_mhz} MHz now"))
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        try:
            backends.require_compiler(device)
            compiles = "yes"
        except Unsupported as error:
            compiles = f"no, and so no INT8 row: {error}" if device == "cpu" else f"no: {error}"
        facts.append((f"torch.compile, {device}", compiles))
    peak = "yes" if Path("/proc/self/clear_refs").exists() else "no: peak memory of the CPU cannot be measured here"
    return [*facts, ("peak memory", peak), *versions().items()]
