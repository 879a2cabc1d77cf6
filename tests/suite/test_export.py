"""A model handed over: the file computes what the model does, loads by the printed lines, and overwrites nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors
import safetensors.torch
import torch

import suite
from suite import artifacts, execute, export, invocation, modelfiles
from suite.errors import ArtifactError, SuiteError, UsageError
from suite.execute import Session
from suite.plan import Cell
from suite.progress import Progress

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cell(tiny_cell: Callable[..., Cell], places: Any, origin: Any) -> Cell:
    """A cell whose model is stored."""
    made: Cell = tiny_cell("zeroes")
    session = Session(places, "cpu", origin, Progress(silent=True))
    (outcome,) = execute.compress([made], session)
    assert outcome.record.status == "ok"
    return made


def original(cell: Cell, root: Path) -> torch.nn.Module:
    folder = invocation.newest_model(cell, root)
    assert folder is not None
    return artifacts.load(folder)


@pytest.mark.parametrize("kind", list(export.FORMATS))
def test_printed_lines_load_the_file_and_it_computes_the_same(
    kind: str, cell: Cell, places: Any, tiny_ready: Any, tmp_path: Path
) -> None:
    file, dataset = tmp_path / f"it's a model.{kind}", tiny_ready.dataset
    done = export.export([cell], file, kind, root=places.artifacts)
    assert done.size_bytes == file.stat().st_size and done.sha256 == modelfiles.sha256_file(file)
    assert done.checks and done.precision == "fp32" and len(done.snippet.splitlines()) == 5
    code = f"{done.snippet}\nprint([[float(value) for value in row] for row in outputs])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    with torch.inference_mode():
        expected = original(cell, places.artifacts)(dataset.normalise(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))
    assert torch.allclose(torch.tensor(json.loads(ran.stdout)), expected, rtol=1e-4, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [file.name], "one file, nothing beside it"


def test_a_file_says_how_its_inputs_are_made_of_pixels(
    cell: Cell, places: Any, tiny_ready: Any, tmp_path: Path
) -> None:
    wanted = {name: getattr(tiny_ready.dataset, name).flatten().tolist() for name in ("mean", "std")}
    done = export.export([cell], tmp_path / "m.onnx", "onnx", root=places.artifacts)
    properties = {each.key: each.value for each in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(properties["normalisation"]) == done.facts["normalisation"] == wanted
    assert json.loads(properties["made_by"])["cell"] == cell.key
    assert "(pixel - mean) / std" in done.checks[-1] and f"mean {wanted['mean'][0]:.6g}" in done.checks[-1]
    export.export([cell], tmp_path / "m.safetensors", "safetensors", root=places.artifacts)
    with safetensors.safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert json.loads(file.metadata()[export.METADATA])["normalisation"] == wanted


def test_nothing_is_overwritten_unless_forced(cell: Cell, places: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("mine")
    with pytest.raises(UsageError, match="is there already: --force"):
        export.export([cell], file, "safetensors", root=places.artifacts)
    assert file.read_text() == "mine"
    export.export([cell], file, "safetensors", root=places.artifacts, force=True)
    assert suite.load_model(file) is not None


def test_odd_places_are_refused_with_their_own_remedy_and_nothing_stays(
    cell: Cell, places: Any, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.iterdir())
    for path, message in [
        (tmp_path, f"is no file but a folder: name a file in it, --out {tmp_path}/model.onnx"),
        (tmp_path / "pipe", "is no file but a device or a pipe"),
        (Path(os.devnull), "is no file but a device or a pipe"),
        (tmp_path / "a.pt2", f"has the ending of another format: --format pt2, or --out {tmp_path}/a.onnx"),
        (tmp_path / "new" / "a.onnx", f"no such folder: {tmp_path}/new (--out): make it first"),
        (tmp_path / "file" / "a.onnx", f"{tmp_path}/file is no folder (--out): choose another"),
        (tmp_path / ("a" * 300), "File name too long; choose a shorter name"),
    ]:
        with pytest.raises(UsageError) as caught:
            export.export([cell], path, "onnx", root=places.artifacts, force=True)
        assert message in str(caught.value) and "room" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before and not Path(os.devnull).is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_may_not_be_written_to_is_named(cell: Cell, places: Any, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UsageError, match=r"closed may not be written to \(--out\): choose a folder that you may"):
        export.export([cell], tmp_path / "closed" / "a.onnx", "onnx", root=places.artifacts)


def test_what_cannot_be_exported_is_one_line(
    cell: Cell, places: Any, tmp_path: Path, tiny_cell: Callable[..., Cell]
) -> None:
    file = tmp_path / "model"
    with pytest.raises(UsageError, match="unknown format 'gguf': choose one of safetensors, onnx, pt2"):
        export.export([cell], file, "gguf", root=places.artifacts)
    with pytest.raises(UsageError, match="names 2 cells"):
        export.export([cell, tiny_cell("zeroes", seed=3)], file, "onnx", root=places.artifacts)
    with pytest.raises(
        SuiteError, match=r"python -m suite run --task tiny --method zeroes .*--seed 3 .* --force makes it"
    ):
        export.export([tiny_cell("zeroes", seed=3)], file, "onnx", root=places.artifacts)
    assert not file.exists()


def test_safetensors_file_is_bit_equal_and_says_what_it_is(cell: Cell, places: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    export.export([cell], file, "safetensors", root=places.artifacts)
    loaded, model = suite.load_model(file), original(cell, places.artifacts)
    assert not loaded.training
    for (name, tensor), (other, expected) in zip(loaded.state_dict().items(), model.state_dict().items(), strict=True):
        assert name == other and torch.equal(tensor, expected)
    with safetensors.safe_open(file, "pt") as opened:
        described = json.loads(opened.metadata()[export.METADATA])
    assert described["made_by"]["method"] == "zeroes" and described["made_by"]["cell"] == cell.key
    assert "facts" not in described


def test_damaged_or_strange_safetensors_file_is_refused(cell: Cell, places: Any, tmp_path: Path) -> None:
    file, damaged = tmp_path / "model.safetensors", tmp_path / "damaged.safetensors"
    export.export([cell], file, "safetensors", root=places.artifacts)
    content = bytearray(file.read_bytes())
    content[-1] ^= 64
    damaged.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        suite.load_model(damaged)
    for strange in (b"", bytes(content[:100]), safetensors.torch.save({"weight": torch.zeros(2)})):
        damaged.write_bytes(strange)
        with pytest.raises(ArtifactError, match="no model exported as safetensors"):
            suite.load_model(damaged)
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    damaged.write_bytes(safetensors.torch.save({"other": torch.zeros(2)}, metadata))
    with pytest.raises(ArtifactError, match="does not fit its own description"):
        suite.load_model(damaged)
    described = json.loads(metadata[export.METADATA])
    described["architecture"]["layers"]["features.1"][1]["eps"] = 5.0
    whole = safetensors.torch.load_file(file)
    damaged.write_bytes(safetensors.torch.save(whole, {export.METADATA: json.dumps(described)}))
    with pytest.raises(ArtifactError, match="the description has been changed or damaged"):
        suite.load_model(damaged)
    damaged.write_bytes(safetensors.torch.save(whole, {export.METADATA: "[" * 50_000}))
    with pytest.raises(ArtifactError, match="no model exported as safetensors"):
        suite.load_model(damaged)
    with pytest.raises(ArtifactError, match="cannot be read"):
        suite.load_model(tmp_path / "missing")


def test_pt2_is_read_only_while_the_index_knows_it(cell: Cell, places: Any, tmp_path: Path) -> None:
    file, index = tmp_path / "model.pt2", places.artifacts / export.INDEX
    export.export([cell], file, "pt2", root=places.artifacts)
    assert export.load_pt2(file, index)(torch.zeros(3, 3, 32, 32)).shape == (3, 10)
    other = tmp_path / "other.json"
    export.remember(other, "0" * 64, {})
    with pytest.raises(ArtifactError, match="was not exported by this installation"):
        export.load_pt2(file, other)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="was not exported by this installation"):
        export.load_pt2(file, index)


def test_command_line_prints_the_lines_and_nothing_else(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    one = ("--task", "tiny", "--method", "dense", "--profile", "smoke")
    wanted = ("--format", "safetensors", "--out", "model.safetensors")
    missing = run_cli("export", *one, *wanted)
    assert missing.returncode == 1 and missing.stdout == ""
    assert "no model of this cell" in missing.stderr and missing.stderr.count("\n") == 1
    assert run_cli("run", *one).returncode == 0
    done = run_cli("export", *one, *wanted)
    assert done.returncode == 0 and "/model.safetensors')(" in done.stdout
    assert len(done.stdout.splitlines()) == 5 and "bit-equal" in done.stderr
    again = run_cli("export", *one, *wanted)
    assert again.returncode == 2 and again.stdout == "" and "--force" in again.stderr
    facts = json.loads(run_cli("export", *one, *wanted, "--force", "--json").stdout)
    assert facts["size_bytes"] == (tmp_path / "model.safetensors").stat().st_size
    several = run_cli("export", "--task", "tiny", "--method", "zeroes", *wanted)
    assert several.returncode == 2 and "names 2 cells" in several.stderr
    (folder,) = (tmp_path / "artifacts" / "tiny" / "dense").glob("*-*-*")
    folder.rename(folder.with_name("-".join((folder.name.split("-")[0], "0" * 8, folder.name.split("-")[2]))))
    stale = run_cli("export", *one, *wanted, "--force")
    assert stale.returncode == 1 and "the one of older code is stale, and there is no model of this" in stale.stderr


def test_what_is_refused_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        from suite import cli
        there = ["--task", "vgg16-digits", "--method", "dense", "--profile", "smoke", "--artifacts", {str(tmp_path)!r}]
        for kind, place in (("tar", "x"), ("onnx", "/"), ("pt2", "x")):
            print(cli.main(["export", *there, "--format", kind, "--out", place]), "torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["2 False", "2 False", "1 False"], done.stderr
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["prunemark"] * 3
