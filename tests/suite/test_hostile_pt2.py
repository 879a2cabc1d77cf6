"""Files that run code when torch.export.load reads them: that they do, and that they do nothing through our loaders."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import suite
from suite import backends, export
from suite.errors import ArtifactError


class Payload:
    """Unpickled, it makes an empty file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def honest() -> bytes:
    buffer = io.BytesIO()
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 2, 2),), dynamic_shapes=({0: batch},)), buffer)
    return buffer.getvalue()


def rewritten(change: Callable[[str, bytes], bytes]) -> bytes:
    """An honest pt2, each of its parts changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(honest())) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"images": Payload(marker)}, buffer)
    return buffer.getvalue()


def with_pickled_weights(marker: Path) -> bytes:
    def change(name: str, content: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return content.replace(b'"use_pickle": false', b'"use_pickle": true')
        return pickled(marker) if "/data/weights/weight_" in name else content

    return rewritten(change)


def with_pickled_sample_inputs(marker: Path) -> bytes:
    return rewritten(lambda name, content: pickled(marker) if "/data/sample_inputs/" in name else content)


def with_evaluated_dimension(marker: Path) -> bytes:
    code = f"__import__('pathlib').Path({str(marker)!r}).touch() or Integer(2)".encode()

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        start = content.index(b'"expr_str": "') + len(b'"expr_str": "')
        symbol = content[start : content.index(b'"', start)]
        return content.replace(b'"expr_str": "' + symbol + b'"', b'"expr_str": "' + code + b'"')

    return rewritten(change)


HOSTILE = [with_pickled_weights, with_pickled_sample_inputs, with_evaluated_dimension]
DANGEROUS = """
import sys, torch
try:
    torch.export.load(sys.argv[1])
except Exception:
    pass
"""


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_pt2_does_nothing_through_our_loaders(
    make: Callable[[Path], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, file, index = tmp_path / "marker", tmp_path / "model.pt2", tmp_path / export.INDEX
    file.write_bytes(make(marker))
    export.remember(index, "0" * 64, {"cell": "another"})
    for read in (lambda: export.load_pt2(file, index), lambda: export.load_pt2(file, tmp_path / "no-index")):
        with pytest.raises(ArtifactError, match="was not exported by this installation"):
            read()
    with pytest.raises(ArtifactError, match="no model exported as safetensors"):
        suite.load_model(file)
    assert not marker.exists()
    subprocess.run([sys.executable, "-c", DANGEROUS, file], check=True, capture_output=True, cwd=tmp_path)
    assert marker.exists(), "torch.export.load has run it: the file was dangerous"


def test_index_that_is_no_index_is_named(tmp_path: Path) -> None:
    file, index = tmp_path / "model.pt2", tmp_path / export.INDEX
    file.write_bytes(honest())
    index.write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    with pytest.raises(ArtifactError, match="is damaged"):
        export.load_pt2(file, index)
    assert not (tmp_path / "marker").exists()


def test_onnx_weights_outside_of_the_file_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * 24))
    weight = onnx.TensorProto(name="weight", data_type=onnx.TensorProto.FLOAT, dims=[12, 2])
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "96")):
        weight.external_data.add(key=key, value=value)
    node = onnx.helper.make_node("MatMul", [backends.INPUT, "weight"], [backends.OUTPUT])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name, size in ((backends.INPUT, 12), (backends.OUTPUT, 2))
    ]
    graph = onnx.helper.make_graph([node], "hostile", ends[:1], ends[1:], [weight])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", backends.OPSET)], ir_version=10)
    content = made.SerializeToString()
    file = tmp_path / "inner" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(content)
    for model in (file, content):
        with pytest.raises(Exception, match=r"(?i)external data|escapes"):
            backends.session(model, 1)
