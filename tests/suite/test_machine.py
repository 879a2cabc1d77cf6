"""The machine's identity, its lock, and what it says it can run."""

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from suite import machine
from suite.errors import DeviceError, UsageError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def test_slug_is_hardware_words_and_a_hash_and_no_host_name() -> None:
    slug = machine.identity().slug
    assert re.fullmatch(r"[a-z0-9.]+(-[a-z0-9.]+)*-\d+c-\d+g(-[a-z0-9.]+)*-[0-9a-f]{6}", slug), slug
    assert platform.node().lower() not in slug
    assert machine.identity().slug == slug


def test_slug_depends_on_hardware_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.identity()
    monkeypatch.setattr(platform, "python_version", lambda: "9.9.9")
    monkeypatch.setattr(platform, "release", lambda: "9.9.9-of-somebody")
    after = machine.identity()
    assert after.slug == before.slug
    assert after.python == "9.9.9"
    assert "somebody" not in after.os
    monkeypatch.setattr(machine, "usable_cores", lambda: before.cores + 1)
    assert machine.identity().slug[-6:] != before.slug[-6:]


def test_machine_that_is_given_more_memory_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.identity().slug
    pages = os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(os, "sysconf", lambda name: 3 * pages if name == "SC_PHYS_PAGES" else 4096)
    assert machine.identity().slug == before


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz", "intel-xeon-platinum-8480c"),
        ("AMD Ryzen 7 7840U with Radeon 780M Graphics", "amd-ryzen-7-7840u"),
        ("Apple M2", "apple-m2"),
        ("", "unknown"),
    ],
)
def test_processor_names_become_plain_words(name: str, slug: str) -> None:
    assert machine._slug(name) == slug


@pytest.mark.parametrize(
    ("cpuinfo", "fast"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx512f avx512_bf16", True),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx512f avx512_bf16", False),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx512f avx512_bf16 amx_bf16", True),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx2", False),
        ("Features\t: asimd sve bf16", True),
        ("", False),
    ],
)
def test_bf16_is_trained_in_where_it_is_faster_than_float32(
    cpuinfo: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: cpuinfo)
    assert machine.bf16_is_fast() is fast


def test_machine_file_is_written_once_and_again_only_when_it_differs(tmp_path: Path) -> None:
    path = machine.write_machine(tmp_path)
    assert path == tmp_path / "machines" / f"{machine.identity().slug}.json"
    written = path.stat().st_mtime_ns
    assert set(json.loads(path.read_text())) == {field.name for field in fields(machine.Machine)}
    assert machine.write_machine(tmp_path).stat().st_mtime_ns == written
    path.write_text("{}")
    assert json.loads(machine.write_machine(tmp_path).read_text())["cores"] == machine.usable_cores()


def test_versions_name_python_and_torch() -> None:
    found = machine.versions()
    assert found["python"] == platform.python_version()
    assert found["torch"].split(".")[0].isdigit()
    assert all(found.values())


def test_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"unknown device 'tpu': choose one of cpu, cuda"):
        machine.require_device("tpu")
    machine.require_device("cpu")


def test_cuda_without_cuda_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError) as caught:
        machine.require_device("cuda")
    assert str(caught.value) == (
        "no CUDA device here: use --device cpu, or run on a machine with an NVIDIA GPU and its driver"
    )


def test_planning_modules_do_not_load_torch() -> None:
    code = (
        "import sys, suite.machine, suite.stats, suite.bench; suite.machine.identity(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_second_process_waits_for_the_device_and_says_so(tmp_path: Path) -> None:
    code = (
        "import sys, suite.machine as m\n"
        "with m.device_lock('cpu'): print('in', flush=True); sys.stdin.readline(); print('out', flush=True)"
    )
    environment = ENVIRONMENT | {"TMPDIR": str(tmp_path)}

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )

    first = start()
    assert first.stdout is not None and first.stdout.readline() == "in\n"
    second = start()
    assert second.stderr is not None
    line = second.stderr.readline()  # comes although the second process is not in yet
    assert line == f"waiting for process {first.pid}, which is measuring on cpu\n"
    first.kill()  # a killed process keeps no lock
    first.communicate()
    output, _ = second.communicate("\n", timeout=20)
    assert output == "in\nout\n"


def test_devices_are_locked_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    with machine.device_lock("cpu"), machine.device_lock("cuda"):
        assert len(list(tmp_path.glob("prunemark-*/*.lock"))) == 2


def test_doctor_tells_devices_and_versions() -> None:
    pytest.importorskip("torch")
    facts = machine.doctor()
    names = [name for name, _ in facts]
    assert {"machine", "cpu", "memory", "bf16 on the CPU", "peak memory", "torch"} <= set(names)
    assert any(name.startswith("cuda") for name in names)
    assert all(answer and "\n" not in answer for _, answer in facts)
