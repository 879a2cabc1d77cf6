"""The autoencoder is the network of the paper's Table 2, and its variants differ from it where they say."""

from __future__ import annotations

import pytest
import torch
import torch_pruning as tp
from torch import nn

from models.autoencoder import autoencoder
from suite import artifacts, complexity, registry

SHAPE = (3, 128, 128)
#: Table 2: kind, channels in, channels out, kernel. It writes Conv11, Conv13 and the transposed ones as in x out.
TABLE_2 = [
    ("Conv2d", 3, 64, 3), ("Conv2d", 64, 64, 3), ("Conv2d", 64, 128, 3), ("Conv2d", 128, 128, 3),
    ("Conv2d", 128, 128, 3), ("Conv2d", 128, 128, 3), ("Conv2d", 128, 128, 3),
    ("ConvTranspose2d", 128, 128, 2), ("Conv2d", 128, 128, 3), ("Conv2d", 128, 128, 3), ("Conv2d", 128, 128, 3),
    ("ConvTranspose2d", 128, 128, 2), ("Conv2d", 128, 128, 3), ("Conv2d", 128, 64, 3),
    ("ConvTranspose2d", 64, 64, 2), ("Conv2d", 64, 64, 3), ("Conv2d", 64, 3, 3),
]  # fmt: skip


def layers(model: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """Convolutions and transposed ones in the order in which an image meets them."""
    met: list[nn.Conv2d | nn.ConvTranspose2d] = []
    hooks = [
        each.register_forward_hook(lambda module, *_: met.append(module))
        for each in model.modules()
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)
    ]
    model.eval()(torch.zeros(1, 3, 16, 16))
    for hook in hooks:
        hook.remove()
    return met


def test_autoencoder_is_table_2() -> None:
    found = [(type(e).__name__, e.in_channels, e.out_channels, e.kernel_size[0]) for e in layers(autoencoder())]
    assert found == TABLE_2


@pytest.mark.parametrize(
    ("options", "macs", "parameters"),
    [
        ({}, 4_133_486_592, 1_556_931),
        ({"bottleneck": 256}, 4_301_258_752, 1_770_307),
        ({"skip": True}, 5_492_441_088, 1_888_707),
        ({"width": 0.25}, 268_959_744, 98_931),
    ],
)
def test_cost_is_exactly_what_the_docstrings_say(options: dict[str, float], macs: int, parameters: int) -> None:
    model = autoencoder(**options)
    assert complexity.macs(model, SHAPE) == macs
    assert complexity.parameters(model) == parameters


@pytest.mark.parametrize(("bottleneck", "channels"), [(128, 128), (256, 256)])
def test_code_is_16_by_16(bottleneck: int, channels: int) -> None:
    model = autoencoder(bottleneck=bottleneck).eval()
    images = torch.zeros(1, *SHAPE)
    assert model.encoder(images)[0].shape == (1, channels, 16, 16)
    assert model(images).shape == images.shape


@pytest.mark.parametrize("skip", [False, True])
def test_batchnorm_and_relu_follow_every_layer_but_the_head(skip: bool) -> None:
    model = autoencoder(width=1 / 16, skip=skip)
    graph = torch.fx.symbolic_trace(model)
    modules = dict(graph.named_modules())
    checked = 0
    for node in graph.graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.Conv2d | nn.ConvTranspose2d):
            continue
        if node.target == "head":
            assert [user.op for user in node.users] == ["output"]
            continue
        (norm,) = node.users
        (relu,) = norm.users
        assert isinstance(modules[norm.target], nn.BatchNorm2d) and isinstance(modules[relu.target], nn.ReLU)
        checked += 1
    assert checked == 16


def test_each_relu_is_a_module_of_its_own() -> None:
    called: list[int] = []
    model = autoencoder(width=1 / 16).eval()
    for each in model.modules():
        if isinstance(each, nn.ReLU):
            each.register_forward_hook(lambda module, *_: called.append(id(module)))
    model(torch.zeros(1, 3, 16, 16))
    assert len(called) == len(set(called)) == 16


def test_skip_alone_lets_detail_past_the_bottleneck() -> None:
    for skip in (False, True):
        torch.manual_seed(0)
        model = autoencoder(width=1 / 8, skip=skip).eval()
        for parameter in model.encoder.level2.parameters():
            nn.init.zeros_(parameter)  # nothing comes through the deepest level
        one, two = (model(torch.rand(1, 3, 32, 32)) for _ in range(2))
        assert torch.equal(one, two) is not skip


@pytest.mark.parametrize("options", [{}, {"skip": True}, {"bottleneck": 256, "skip": True}])
def test_every_layer_but_the_head_can_lose_half_its_channels_alone(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    model = autoencoder(width=0.25, **options)
    image = torch.rand(1, 3, 32, 32)
    before = {name: each.out_channels for name, each in model.named_modules() if hasattr(each, "out_channels")}
    for name, channels in before.items():
        if name == "head":
            continue
        layer = model.get_submodule(name)
        graph = tp.DependencyGraph().build_dependency(model, example_inputs=image)
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        graph.get_pruning_group(layer, cut, list(range(channels // 2))).prune()
        now = {name: each.out_channels for name, each in model.named_modules() if hasattr(each, "out_channels")}
        assert [each for each in now if now[each] != before[each]] == [name]
        before = now
        assert model(image).shape == image.shape
    assert model.head.out_channels == 3


def test_width_leaves_at_least_one_channel() -> None:
    model = registry.build_model("autoencoder", {"width": 0.001})
    assert {each.out_channels for each in layers(model)} == {1, 3}
    assert model.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 3, 16, 16)


def test_it_is_described_as_text_and_rebuilt() -> None:
    options = {"width": 0.125, "bottleneck": 256, "skip": True}
    model = registry.build_model("autoencoder", options)
    described = artifacts.describe(model, name="autoencoder", options=options, input_shape=SHAPE)
    rebuilt = artifacts.rebuild(described)
    assert {n: t.shape for n, t in rebuilt.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}
