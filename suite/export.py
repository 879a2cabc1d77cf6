"""A stored model handed over as one file: safetensors for this suite, ONNX for any runtime, pt2 for torch.

Reading a pt2 may run code from the file (pickled weights, pickled sample inputs, dimensions that are evaluated), so
`load_pt2` reads those that this installation wrote, which it knows by their SHA-256, and no others. `load_model` reads
numbers and a description and runs nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import nn

from suite import adversarial, artifacts, backends, handover, modelfiles, registry  # artifacts registers operators
from suite.errors import ArtifactError, SuiteError, Unsupported, said
from suite.plan import Cell
from suite.records import write_atomically
from suite.tasks import Task

#: Where an installation keeps the hashes of the pt2 files that it wrote, in its artifacts folder.
INDEX = "exported-pt2.json"
#: The key of the description in a safetensors file's metadata.
METADATA = "prunemark"
#: Images of the larger batch that an exported file is tried on.
CHECK_IMAGES = 32
#: A pt2 may be larger than the weights by its program and the alignment of its parts, not by a second set of weights.
PT2_OVERHEAD = 1.25


@dataclass(frozen=True)
class Exported:
    """What was written, how it was checked, and the lines of Python that load it and run it.

    `normalisation` has `mean` and `std` by channel, on the scale of pixels from 0 to 255.
    """

    path: Path
    format: str
    sha256: str
    size_bytes: int
    precision: str
    checks: tuple[str, ...]
    snippet: str
    normalisation: dict[str, list[float]] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self) | {"path": str(self.path)}

    @property
    def lines(self) -> tuple[str, ...]:
        """What to tell whoever asked for it."""
        return f"{self.path}: {self.size_bytes:,} bytes, {self.precision}, SHA-256 {self.sha256}", *self.checks


def export(cells: Sequence[Cell], path: Path, kind: str, *, root: Path, force: bool = False) -> Exported:
    """Write the stored model of the one cell given to `path` in the format `kind`, whole or not at all.

    `root` is the artifacts folder, whose index gets the hash of a pt2. UsageError for several cells, an unknown format
    or a file that is there (unless `force`); Unsupported where a format cannot say what the network does; SuiteError
    where there is no model, or the file computes something else than it.
    """
    cell, folder = handover.stored(cells, path, kind, root=root, force=force)
    model = artifacts.load(folder)
    known = modelfiles.facts(folder) or {}
    shape: tuple[int, int, int] = tuple(known["architecture"]["input_shape"])
    normalisation = known.get("facts", {}).get("normalisation")  # a model of an earlier version has none
    content, checks = FORMATS[kind](model, shape, _description(cell, known))
    digest = hashlib.sha256(content).hexdigest()
    if kind == "pt2":  # before the file, which without it could not be loaded
        remember(root / INDEX, digest, {"cell": cell.key, "arguments": cell.arguments})
    write_atomically(path, content)
    return Exported(
        path,
        kind,
        digest,
        len(content),
        "int8" if backends.int8_layers(model) else "fp32",
        (*checks, _inputs_said(normalisation), *_said_of(registry.task(cell.task))),
        _snippet(kind, path.resolve(), (root / INDEX).resolve(), shape, normalisation),
        normalisation,
    )


def _description(cell: Cell, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of itself: the stored description without the history of its training, and its cell."""
    made = {"task": cell.task, "method": cell.method, "hyperparameters": dict(cell.hyperparameters), "seed": cell.seed,
            "profile": cell.profile, "cell": cell.key}  # fmt: skip
    stored = {name: known[name] for name in ("sha256", "architecture", "graph") if name in known}
    normalisation = known.get("facts", {}).get("normalisation")
    return stored | {
        "description_sha256": modelfiles.description_sha256(stored),
        "made_by": made,
        **({} if normalisation is None else {NORMALISATION: normalisation}),
    }


#: What a file's metadata call how its inputs are made of pixels from 0 to 255.
NORMALISATION = "normalisation"


def _inputs_said(normalisation: Mapping[str, Sequence[float]] | None) -> str:
    if normalisation is None:
        return "takes inputs normalised as in its training, which a model of this age does not say: run its cell again"
    few, more = 4, ", ..." if len(normalisation["mean"]) > 4 else ""
    mean, std = (", ".join(f"{value:.6g}" for value in normalisation[name][:few]) + more for name in ("mean", "std"))
    return f"takes (pixel - mean) / std of pixels from 0 to 255, channels first: mean {mean}; std {std}"


def _said_of(task: Task) -> tuple[str, ...]:
    """What pixels and outputs are, where that does not go without saying."""
    return (adversarial.in_and_out(task),) if task.objective == "generation" else ()


def _scaled(library: str, size: str, normalisation: Mapping[str, Sequence[float]]) -> str:
    """Lines that make `inputs` of pixels, by numpy or torch."""
    kind = "uint8" if library == "numpy" else "dtype=torch.uint8"
    zeros = f'numpy.zeros({size}, "{kind}")' if library == "numpy" else f"torch.zeros({size}, {kind})"
    make = 'numpy.array({}, "float32")' if library == "numpy" else "torch.tensor({})"
    mean, std = (f"{make.format(list(normalisation[name]))}.reshape(1, -1, 1, 1)" for name in ("mean", "std"))
    return f"pixels = {zeros}  # yours: 0 to 255, channels first\ninputs = (pixels - {mean}) / {std}\n"


def _snippet(
    kind: str, path: Path, index: Path, shape: tuple[int, int, int], normalisation: Mapping[str, Sequence[float]] | None
) -> str:
    size = f"(2, {shape[0]}, {shape[1]}, {shape[2]})"
    if kind == "onnx":
        made = _scaled("numpy", size, normalisation) if normalisation else f'inputs = numpy.zeros({size}, "float32")\n'
        return (
            "import numpy, onnxruntime\n"
            f'session = onnxruntime.InferenceSession({str(path)!r}, providers=["CPUExecutionProvider"])\n'
            f'{made}outputs = session.run(None, {{"{backends.INPUT}": inputs}})[0]'
        )
    if kind == "pt2":
        load, call = "from suite.export import load_pt2", f"load_pt2({str(path)!r}, {str(index)!r})"
    else:
        load, call = "import suite", f"suite.load_model({str(path)!r})"
    made = _scaled("torch", size, normalisation) if normalisation else f"inputs = torch.zeros{size}\n"
    return f"import torch\n{load}\n{made}outputs = {call}(inputs)"


# ---------------------------------------------------------------------------------------------------------- safetensors


def _safetensors(
    model: nn.Module, shape: tuple[int, int, int], description: dict[str, Any]
) -> tuple[bytes, tuple[str, ...]]:
    content = safetensors.torch.save(artifacts.tensors_of(model), {METADATA: json.dumps(description, allow_nan=False)})
    again = _read_model(content, "the file")
    with torch.inference_mode():
        images = artifacts.random_input(2, shape)
        if not torch.equal(model(images), again(images)):
            raise SuiteError("the file does not give the outputs of the model that was saved")
    return content, ("read back: weights and outputs bit-equal",)


def load_model(path: str | Path, *, device: str = "cpu") -> nn.Module:
    """The network of a safetensors file that `export` wrote, in eval mode on `device`. No code from the file is run.

    It takes (N, C, H, W): (pixel - mean) / std, which the file's metadata have. ArtifactError where the file is
    missing, damaged, or none of ours.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    return _read_model(content, str(path)).to(device=device)


def _read_model(content: bytes, name: str) -> nn.Module:
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, Any])
        description = msgspec.json.decode(header["__metadata__"][METADATA], type=dict[str, Any])
    except (*artifacts.MISFITS, msgspec.MsgspecError) as error:  # RecursionError is a RuntimeError
        raise ArtifactError(f"{name} is no model exported as safetensors: export it again {said(error)}") from error
    try:
        model = artifacts.restore(description, tensors)
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from error
    except artifacts.MISFITS as error:
        raise ArtifactError(f"{name} does not fit its own description: export it again {said(error)}") from error
    if hashlib.sha256(artifacts.weights_bytes(model)).hexdigest() != description.get("sha256"):
        raise ArtifactError(f"{name} is damaged: its weights are not those that were exported; export it again")
    return model


# ----------------------------------------------------------------------------------------------------------------- onnx


def _onnx(model: nn.Module, shape: tuple[int, int, int], description: dict[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    told = {name: json.dumps(description[name]) for name in ("made_by", NORMALISATION) if name in description}
    content = backends.onnx_bytes(model, shape, told)
    kernels, difference = backends.checked_session(content, model, shape, CHECK_IMAGES)
    of = "the outputs' norm" if kernels.layers else "the largest output"
    checks = [f"ONNX Runtime: batches of 1 and {CHECK_IMAGES} differ by {difference:.1g} of {of}",
              f"opset {backends.OPSET}, any batch size, weights inside"]  # fmt: skip
    if kernels.layers:
        checks.append(f"{kernels.called} of {kernels.layers} INT8 layers call an INT8 kernel here")
    return content, tuple(checks)


# ------------------------------------------------------------------------------------------------------------------ pt2


def _pt2(model: nn.Module, shape: tuple[int, int, int], _: dict[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    example = torch.zeros(2, *shape)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except torch._dynamo.exc.UserError as error:
        raise Unsupported(
            f"torch.export cannot follow this network: --format safetensors takes it {said(error)}"
        ) from error
    torch.export.save(program, buffer)
    content = buffer.getvalue()
    weights = len(artifacts.weights_bytes(model))
    if len(content) > PT2_OVERHEAD * weights + 2**20:
        raise SuiteError(f"the pt2 has {len(content):,} bytes for {weights:,} of weights: something is in it twice")
    again = torch.export.load(io.BytesIO(content)).module()
    with torch.inference_mode():
        for size in (1, CHECK_IMAGES):
            images = artifacts.random_input(size, shape)
            backends.check_outputs(model(images), again(images), int8=False, where="the pt2")
    return content, (f"read back: outputs of 1 and {CHECK_IMAGES} images within {backends.FLOAT_TOLERANCE:g}",)


def remember(index: Path, sha256: str, entry: Mapping[str, Any]) -> None:
    """Add the hash of a pt2 that was just written to this installation's index."""
    write_atomically(index, json.dumps(_index(index) | {sha256: dict(entry)}, indent=1).encode() + b"\n")


def _index(index: Path) -> dict[str, dict[str, Any]]:
    try:
        return msgspec.json.decode(index.read_bytes(), type=dict[str, dict[str, Any]])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"{index} is damaged: delete it and export the pt2 files again {said(error)}") from error


def load_pt2(path: str | Path, index: str | Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network of a pt2 that this installation exported, ready to be called; `index` is the file of its hashes.

    ArtifactError for every other file, before anything in it is looked at: torch.export.load runs what a pt2 holds.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() not in _index(Path(index)):
        raise ArtifactError(
            f"{path} was not exported by this installation ({index} does not know its hash), and reading a pt2 can run "
            "code: have it as safetensors or ONNX"
        )
    loaded: Callable[[torch.Tensor], torch.Tensor] = torch.export.load(io.BytesIO(content)).module()
    return loaded


Writer = Callable[[nn.Module, tuple[int, int, int], dict[str, Any]], tuple[bytes, tuple[str, ...]]]
FORMATS: Mapping[str, Writer] = dict(zip(handover.FORMATS, (_safetensors, _onnx, _pt2), strict=True))
