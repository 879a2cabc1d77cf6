"""Stored models: what comes back is what was stored, what was altered is refused, and nothing in a file is run."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from suite import artifacts, graphs, modelfiles
from suite.errors import ArtifactError
from suite.modelfiles import DESCRIPTION, WEIGHTS

OPTIONS = {"classes": 10, "width": 0.0625}


def describe(model: nn.Module) -> artifacts.Architecture:
    return artifacts.describe(model, name="vgg16", options=OPTIONS, input_shape=(3, 32, 32))


def cut(model: nn.Module) -> nn.Module:
    """The tiny network with 3 channels left in its first convolution, 5 inputs in its head and no bias there."""
    model = copy.deepcopy(model)
    model.features[0] = nn.Conv2d(3, 3, 3, padding=1)
    model.features[1] = nn.BatchNorm2d(3)
    model.features[3] = nn.Conv2d(3, 4, (3, 1), padding=(1, 0), stride=1)
    model.head = nn.Linear(32, 10, bias=False)
    return model.eval()


@pytest.fixture
def stored(tiny_model: nn.Module, tmp_path: Path) -> Path:
    artifacts.save(tiny_model, tmp_path / "stored", describe(tiny_model), {"training": "none"})
    return tmp_path / "stored"


@pytest.mark.parametrize("change", [lambda model: model, cut])
def test_loaded_model_is_bit_equal_to_the_saved_one(
    tiny_model: nn.Module, tmp_path: Path, change: Callable[[nn.Module], nn.Module]
) -> None:
    model = change(tiny_model)
    with torch.no_grad():
        model.features[1].running_mean.uniform_(-1, 1)
    digest = artifacts.save(model, tmp_path, describe(model), {"note": 1})
    loaded = artifacts.load(tmp_path)
    assert not loaded.training
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))
    assert digest == hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    known = modelfiles.facts(tmp_path)
    assert known is not None and known["sha256"] == digest and known["facts"] == {"note": 1}


def test_saving_does_not_change_the_model(tiny_model: nn.Module, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    one = artifacts.save(tiny_model, tmp_path / "one", describe(tiny_model), {})
    assert artifacts.save(tiny_model, tmp_path / "two", describe(tiny_model), {}) == one
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())


def test_where_nothing_is_stored_nothing_is_known(tmp_path: Path) -> None:
    assert modelfiles.facts(tmp_path) is None
    with pytest.raises(ArtifactError, match="no model in"):
        artifacts.load(tmp_path)


def test_weights_without_a_description_are_no_model(stored: Path) -> None:
    (stored / DESCRIPTION).unlink()  # a process that died between the two
    assert modelfiles.facts(stored) is None


# ------------------------------------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize("at", [0, 20, 500, -1])
def test_one_changed_byte_of_the_weights_is_refused_by_name(stored: Path, at: int) -> None:
    content = bytearray((stored / WEIGHTS).read_bytes())
    content[at] ^= 1
    (stored / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"stored/model\.safetensors is not what model\.json says"):
        artifacts.load(stored)


def test_missing_weights_are_named(stored: Path) -> None:
    assert modelfiles.is_readable(stored)
    (stored / WEIGHTS).unlink()
    assert not modelfiles.is_readable(stored), "it is made again where it is needed"
    with pytest.raises(ArtifactError, match=r"stored/model\.safetensors cannot be read: No such file"):
        artifacts.load(stored)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xff", b"[" * 100_000, b'{"sha256": 1e999}'])
def test_damaged_description_is_refused_by_name(stored: Path, content: bytes) -> None:
    (stored / DESCRIPTION).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"stored/model\.json is damaged"):
        artifacts.load(stored)


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"eps": 1e-05', b'"eps": 5.0'), (b'"stride": [\n', b'"stride":  [\n'), (b'"vgg16"', b'"vgg17"')],
)
def test_changed_description_is_refused_unless_only_its_spaces_are(stored: Path, before: bytes, after: bytes) -> None:
    content = (stored / DESCRIPTION).read_bytes()
    assert before in content
    (stored / DESCRIPTION).write_bytes(content.replace(before, after, 1))
    if before.split() == after.split():
        assert artifacts.load(stored) is not None
        return
    with pytest.raises(ArtifactError, match=r"stored/model\.json: the description has been changed or damaged"):
        artifacts.load(stored)


def alter(stored: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    plain = json.loads((stored / DESCRIPTION).read_bytes())
    change(plain)
    plain["description_sha256"] = modelfiles.description_sha256(plain)  # as whoever means harm would
    (stored / DESCRIPTION).write_text(json.dumps(plain))


def layer(name: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda plain: plain["architecture"]["layers"][name][1].update(values)


def kind(name: str, value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda plain: plain["architecture"]["layers"][name].__setitem__(0, value)


def option(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda plain: plain["architecture"]["options"].update(values)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "other shape": layer("features.0", out_channels=3),
    "no bias": layer("head", bias=False),
    "huge": layer("head", in_features=10**12),
    "huge beyond 64 bits": layer("head", in_features=10**30),
    "large in both": layer("features.0", in_channels=65_536, out_channels=65_536),
    "large head": layer("head", in_features=60_000, out_features=60_000),
    "large kernel": layer("features.0", kernel_size=[65_536, 65_536]),
    "negative": layer("features.0", out_channels=-1),
    "no groups": layer("features.0", groups=0),
    "no stride": layer("features.0", stride=[0, 0]),
    "padding beyond all images": layer("features.0", padding=[1_000_000, 1_000_000]),
    "three kernel sizes": layer("features.0", kernel_size=[3, 3, 3]),
    "no kernel size": layer("features.0", kernel_size=[]),
    "text": layer("features.0", out_channels="64"),
    "float": layer("features.0", out_channels=4.0e9),
    "padding by name": layer("features.0", padding="; import os"),
    "more": layer("head", device="cuda"),
    "unknown layer": lambda plain: plain["architecture"]["layers"].update(
        {"features.99": plain["architecture"]["layers"]["head"]}),
    "container": lambda plain: plain["architecture"]["layers"].update(
        {"features": plain["architecture"]["layers"]["head"]}),
    "root": lambda plain: plain["architecture"]["layers"].update({"": plain["architecture"]["layers"]["head"]}),
    "attribute": lambda plain: plain["architecture"]["layers"].update(
        {"head.forward.__globals__": plain["architecture"]["layers"]["head"]}),
    "other kind": kind("head", "Conv2d"),
    "unknown kind": kind("head", "Module"),
    "unknown model": lambda plain: plain["architecture"].update(model="vgg61"),
    "model outside": lambda plain: plain["architecture"].update(model="../../os"),
    "wide": option(width=1e9),
    "wide without end": option(width=1e300),
    "many classes": option(classes=10**13),
    "text for a number": option(width="x"),
    "no number": option(classes=None),
    "unknown option": option(pretrained=True),
    "no architecture": lambda plain: plain.pop("architecture"),
    "architecture of another type": lambda plain: plain.update(architecture=[1, 2]),
    "layers of another type": lambda plain: plain["architecture"].update(layers={"head": "Linear"}),
    "unknown field": lambda plain: plain["architecture"].update(code="import os"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_description_is_refused_in_a_line(stored: Path, name: str) -> None:
    alter(stored, HOSTILE[name])
    with pytest.raises(ArtifactError) as caught:
        artifacts.load(stored)
    assert "\n" not in str(caught.value)


def test_network_beyond_all_sizes_is_refused_before_it_takes_memory(tiny_model: nn.Module) -> None:
    described = describe(tiny_model)
    described.layers["head"] = ("Linear", {"in_features": 60_000, "out_features": 60_000, "bias": True})
    with pytest.raises(ArtifactError, match=r"a network of 3,600,\d+,\d+ parameters: 268,435,456 are the most"):
        artifacts.rebuild(described)


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_loading_never_unpickles(stored: Path, tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    for name in (WEIGHTS, DESCRIPTION):
        whole = (stored / name).read_bytes()
        save(Payload(tmp_path / "ran"), stored / name)
        if name == WEIGHTS:
            alter(stored, lambda plain: plain.update(sha256=modelfiles.sha256_file(stored / WEIGHTS)))
        with pytest.raises(ArtifactError, match=r"model.safetensors does not fit|model.json is damaged"):
            artifacts.load(stored)
        (stored / name).write_bytes(whole)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(stored: Path, tiny_model: nn.Module) -> None:
    other = artifacts.weights_bytes(cut(tiny_model))
    (stored / WEIGHTS).write_bytes(other)
    alter(stored, lambda plain: plain.update(sha256=hashlib.sha256(other).hexdigest()))
    with pytest.raises(ArtifactError, match=r"model\.safetensors does not fit its description"):
        artifacts.load(stored)


def safetensors_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("content", [
    b"", b"\xff" * 8, safetensors_file({}, length=2**62), safetensors_file({}, length=99_999_999),
    safetensors_file({"head.weight": tensor([2**40, 2**40], 0, 4)}, b"1234"),
    safetensors_file({"head.weight": tensor([2**31], 0, 2**33)}, b"1234"),
    safetensors_file({"head.weight": tensor([1], 2**63, 2**63 + 4)}, b"1234"),
    safetensors_file({"head.weight": tensor([1], -4, 0)}, b"1234"),
    safetensors_file({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, b"1234"),
    safetensors_file({"../../outside": tensor([1], 0, 4)}, b"1234"),
    safetensors_file({"head.weight": tensor([1], 0, 4, "PICKLE")}, b"1234"),
    safetensors_file(b"[" * 100_000), safetensors_file(b'{"a":' * 50_000),
    safetensors_file({"__metadata__": {"a": [1]}}), b"PK\x05\x06" + bytes(18),
])  # fmt: skip
def test_hostile_weights_are_refused_in_a_line(stored: Path, content: bytes) -> None:
    (stored / WEIGHTS).write_bytes(content)
    alter(stored, lambda plain: plain.update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ArtifactError, match=r"model\.safetensors does not fit its description") as caught:
        artifacts.load(stored)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in stored.parent.iterdir()) == ["stored"]


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_file_that_is_none_or_has_no_end_is_refused_before_it_is_read(stored: Path, name: str) -> None:
    (stored / name).unlink()
    (stored / name).symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="cannot be read: it is no file"):
        artifacts.load(stored)
    (stored / name).unlink()
    os.mkfifo(stored / name)
    with pytest.raises(ArtifactError, match="cannot be read: it is no file"):
        artifacts.load(stored)
    (stored / name).unlink()
    with open(stored / name, "wb") as file:
        file.truncate(2**40)  # a file with a hole takes no room
    with pytest.raises(ArtifactError, match=r"has 1,099,511,627,776 bytes: [\d,]+ are the most that is read"):
        artifacts.load(stored)


# ---------------------------------------------------------------------------------------------------------- rebuilding


def test_architecture_from_json_rebuilds_the_same_shapes(tiny_model: nn.Module) -> None:
    model = cut(tiny_model)
    text = json.dumps(artifacts.msgspec.to_builtins(describe(model)))
    rebuilt = artifacts.rebuild(json.loads(text), seed=1)
    assert {n: t.shape for n, t in rebuilt.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}
    assert describe(rebuilt) == describe(model)


def test_rebuilt_weights_depend_on_the_seed_alone(tiny_model: nn.Module) -> None:
    described = describe(cut(tiny_model))
    before = torch.random.get_rng_state()
    one, two, other = (artifacts.rebuild(described, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's random numbers are left alone"
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_randomised_model_keeps_its_shapes_and_no_value(tiny_model: nn.Module) -> None:
    model = artifacts.randomise(copy.deepcopy(tiny_model), seed=3)
    for (name, fresh), old in zip(model.named_parameters(), tiny_model.parameters(), strict=True):
        assert fresh.shape == old.shape and fresh.dtype == old.dtype
        assert not torch.any(fresh == 0), name
        assert not torch.equal(fresh, old)


def test_saved_bytes_are_plain_safetensors(stored: Path, tiny_model: nn.Module) -> None:
    found = safetensors.torch.load_file(stored / WEIGHTS)
    assert found.keys() == tiny_model.state_dict().keys()


# ------------------------------------------------------------------------------------------------------------ quantized


@pytest.fixture
def quantized(tiny_model: nn.Module) -> graphs.GraphNetwork:
    """The tiny network as a graph with the weights of its head rounded to int8."""
    free = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(tiny_model, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=free).module()
    network = graphs.portable(exported, tiny_model, (3, 32, 32))
    plain = graphs.describe(network)
    held = {name.removeprefix(graphs.PREFIX): tensor for name, tensor in network.state_dict().items()}
    call = plain["nodes"][-1]
    name = call[1][1]["tensor"]
    scales = held[name].abs().amax(dim=1) / 127
    held |= {name: (held[name] / scales[:, None]).round().to(torch.int8), "t901": scales,
             "t902": torch.zeros(10, dtype=torch.int64)}  # fmt: skip
    weight = [{"tensor": name}, {"tensor": "t901"}, {"tensor": "t902"}, 0, -128, 127, {"dtype": "int8"}]
    plain["nodes"][-1:] = [["quantized_decomposed.dequantize_per_channel.default", weight], call]
    call[1][1] = {"node": len(plain["nodes"]) - 1}
    plain["output"] += 1
    return graphs.rebuild(plain, held, network.layers, (3, 32, 32))


def test_quantized_network_comes_back_bit_equal(quantized: graphs.GraphNetwork, tmp_path: Path) -> None:
    assert 0 < quantized.quantized_share < 1
    artifacts.save(quantized, tmp_path, describe(quantized), {})
    loaded = artifacts.load(tmp_path)
    state = quantized.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(images), quantized(images))


def test_recorded_architecture_of_a_quantized_network_is_that_of_the_float_one(
    quantized: graphs.GraphNetwork, tiny_model: nn.Module
) -> None:
    own, plain = (artifacts.msgspec.to_builtins(describe(model)) for model in (quantized, tiny_model))
    assert own == plain | {"precision": "int8"}, "layers and no graph; a float network says nothing of precision"
    assert modelfiles.rebuildable(plain) and not modelfiles.rebuildable(own)
    with pytest.raises(ArtifactError, match="it is made again instead"):
        artifacts.rebuild(own, seed=0)


@pytest.mark.parametrize("change", [
    lambda plain: plain.pop("graph"),
    lambda plain: plain["graph"]["nodes"].append(["builtins.exec", ["import os"]]),
    lambda plain: plain["architecture"].update(precision="int4"),
    lambda plain: plain["architecture"].pop("precision"),
    lambda plain: plain["architecture"].update(input_shape=[3, 10**6, 10**6]),
])  # fmt: skip
def test_stored_graph_that_does_not_fit_is_refused(
    quantized: graphs.GraphNetwork, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    artifacts.save(quantized, tmp_path, describe(quantized), {})
    alter(tmp_path, change)
    with pytest.raises(ArtifactError) as caught:
        artifacts.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_randomised_integers_keep_their_type_and_are_not_mostly_zero(quantized: graphs.GraphNetwork) -> None:
    model = artifacts.randomise(copy.deepcopy(quantized), seed=3)
    (drawn,) = [each for each in model.parameters() if each.dtype == torch.int8]
    assert float((drawn == 0).double().mean()) < 0.05
    assert any(
        not torch.equal(fresh, old) for fresh, old in zip(model.parameters(), quantized.parameters(), strict=True)
    )
