"""Branches beside the layers of many networks: the dense network at alpha = 1, merged exactly at alpha = 0."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from methods._branches import Blend, BranchedNetwork, merge_relative_error
from methods._folding import relative_error
from methods._regions import Region, find_regions, trace
from suite import SuiteError, Unsupported, artifacts, complexity, kept_channels, registry


class Net(nn.Module):
    """A body between a first convolution and a head; `then` is done to the body's output."""

    def __init__(self, *body: nn.Module, head: nn.Module, then: Any = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.head = head
        self.then = then

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images)
        return self.head(features if self.then is None else self.then(features))


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorms as after a training: values and running statistics that change what passes."""
    drawn = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in ((module.running_mean, -1, 1), (module.running_var, 0.5, 2)):
                tensor.uniform_(low, high, generator=drawn)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=drawn)
                nn.init.uniform_(module.bias, 0, 1, generator=drawn)
    return model


def regions_of(model: nn.Module, images: torch.Tensor, **options: Any) -> tuple[tuple[Region, ...], dict[str, str]]:
    return find_regions(trace(model, images), model.head, **options)


def branch(model: nn.Module, images: torch.Tensor, *, ratio: float = 0.5, **options: Any) -> BranchedNetwork:
    traced = trace(model.eval(), images)
    regions, _ = find_regions(traced, model.head, **options)
    rng = torch.Generator().manual_seed(0)
    return BranchedNetwork(model, traced, regions, channel_ratio=ratio, rng=rng).eval()


def sources(model: nn.Module, images: torch.Tensor, **options: Any) -> set[str]:
    return {str(node.target) for region in regions_of(model, images, **options)[0] for node in region.sources}


def merge(model: nn.Module, images: torch.Tensor, *, ratio: float = 0.5, **options: Any) -> nn.Module:
    """Dense outputs at alpha = 1, then the merged network, whose outputs are those at alpha = 0."""
    lively(model)
    with torch.no_grad():
        wanted = model.eval()(images)
        branched = branch(model, images, ratio=ratio, **options)
        assert torch.equal(branched(images), wanted), "at alpha = 1 it is the dense network, to the last bit"
        lively(branched, seed=1)
        branched.set_alpha(0.0)
        merged = branched.merged(model)
        assert merge_relative_error(branched, merged, images) <= 2e-5
    assert type(merged) is type(model)
    assert {name: type(each) for name, each in merged.named_modules()} == {
        name: type(each) for name, each in model.named_modules()
    }
    return merged


def built(name: str, size: int = 32, **options: Any) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return registry.build_model(name, options), torch.randn(2, 3, size, size)


# ---------------------------------------------------------------------------------------------------- the real networks


def test_vgg16_at_22_of_64_channels_is_the_papers_network() -> None:
    model, images = built("vgg16")
    merged = merge(model, images, ratio=22 / 64)
    assert complexity.parameters(merged) == 1_744_764
    convolutions = [each for each in merged.modules() if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [22, 22, 44, 44, 88, 88, 88, *[176] * 6]


def test_googlenet_at_four_fifths_has_the_reports_parameters() -> None:
    """The report's 4.09 M, through every concatenation (cifar100-googlenet-report)."""
    model, images = built("googlenet")
    assert complexity.parameters(merge(model, images, ratio=0.8)) == 4_089_778


@pytest.mark.parametrize(("name", "options"), [("vgg16", {}), ("resnet18", {"stem_pool": True}), ("googlenet", {})])
def test_every_layer_but_the_head_gets_a_branch(name: str, options: dict[str, Any]) -> None:
    model, images = built(name, width=0.125, **options)
    merged = merge(model, images, ratio=0.34375)
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert merged.get_submodule(path).out_channels == kept_channels(layer.out_channels, 0.34375)
            assert (merged.get_submodule(path).bias is None) == (layer.bias is None)
    assert merged.head.out_features == model.head.out_features


def test_inner_blocks_keep_what_goes_into_sums_and_concatenations() -> None:
    model, images = built("resnet18", width=0.125)
    assert sources(model, images, blocks="inner") == {f"blocks.{block}.residual.0" for block in range(8)}
    merge(model, images, blocks="inner")
    model, images = built("googlenet", width=0.125)
    inner = sources(model, images, blocks="inner")
    assert "blocks.0.three.0" in inner and "blocks.0.five.3" in inner
    assert not {"blocks.0.one.0", "blocks.0.three.3", "blocks.0.pool.1"} & inner
    merged = merge(model, images, blocks="inner")
    assert merged.head.in_features == model.head.in_features


@pytest.mark.parametrize("skip", [False, True])
def test_autoencoder_becomes_narrow_through_transposed_convolutions(skip: bool) -> None:
    model, images = built("autoencoder", size=16, width=0.125, skip=skip)
    merged = merge(model, images)
    trans = merged.decoder.up0.trans0
    assert isinstance(trans, nn.ConvTranspose2d) and (trans.in_channels, trans.out_channels) == (8, 8)
    assert merged.head.out_channels == 3
    assert merged.eval()(images).shape == images.shape


def test_spared_transposed_convolutions_keep_their_inputs_too() -> None:
    """Weekly report 6: neither they nor the convolutions before them are pruned."""
    model, images = built("autoencoder", size=16, width=0.125)
    left = {"encoder.level2.conv6", "decoder.level2.conv9", "decoder.level1.conv11"}
    trans = {"decoder.up0.trans0", "decoder.up1.trans1", "decoder.up2.trans2"}
    everything = sources(model, images)
    assert sources(model, images, spare="ConvTranspose2d") == everything - left - trans
    assert sources(model, images, spare="decoder.up0, decoder.up1.trans1,decoder.up2") == everything - left - trans
    merged = merge(model, images, spare="ConvTranspose2d")
    assert torch.equal(merged.decoder.up1.trans1.weight, model.decoder.up1.trans1.weight)
    with pytest.raises(Unsupported, match="spare=ConvTransposed2d"):
        regions_of(model, images, spare="ConvTransposed2d")


# ------------------------------------------------------------------------------------------- any chain of known modules


@st.composite
def chains(draw: st.DrawFn) -> Net:
    """Convolution or transposed convolution, BatchNorm or not, activation, pooling, and a reader of any kind."""
    bias, kernel = draw(st.booleans()), draw(st.integers(1, 3))
    first: nn.Module
    if draw(st.booleans()):
        groups = draw(st.sampled_from([1, 3]))
        first = nn.Conv2d(3, 6, kernel, stride=draw(st.integers(1, 2)), padding=1, groups=groups, bias=bias)
    else:
        first = nn.ConvTranspose2d(3, 6, kernel, stride=draw(st.integers(1, 2)), bias=bias)
    body = [first]
    if draw(st.booleans()):
        body.append(nn.BatchNorm2d(6, affine=draw(st.booleans()), eps=draw(st.sampled_from([1e-5, 1e-3]))))
    if draw(st.booleans()):
        body.append(draw(st.sampled_from([nn.ReLU(inplace=True), nn.ReLU(), nn.SiLU(inplace=True), nn.Sigmoid()])))
    pool = draw(
        st.sampled_from([None, nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 1, 1), nn.Upsample(scale_factor=2)])
    )
    if pool is not None:
        body.append(pool)
    dropout = [nn.Dropout(0.5)] if draw(st.booleans()) else []
    reader = draw(st.sampled_from(["convolution", "transposed", "linear", "pooled linear"]))
    if reader == "convolution":
        return Net(*body, *dropout, head=nn.Conv2d(6, 2, 3, padding=1))
    if reader == "transposed":
        return Net(*body, *dropout, head=nn.ConvTranspose2d(6, 2, 3, padding=1))
    if reader == "linear":
        side = nn.Sequential(*body).eval()(torch.zeros(2, 3, 9, 9)).shape[-1]
        return Net(*body, nn.Flatten(), *dropout, head=nn.Linear(6 * side * side, 2))
    then = draw(st.sampled_from([lambda x: x.mean((2, 3)), lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)]))
    return Net(*body, *dropout, head=nn.Linear(6, 2), then=then)


@settings(max_examples=80)
@given(model=chains(), seed=st.integers(0, 100))
def test_any_chain_is_dense_at_one_and_merges_exactly_at_zero(model: Net, seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.randn(3, 3, 9, 9)
    merged = merge(model, images, ratio=0.34)
    assert merged.body[0].out_channels == 2


def test_linear_chain_with_batchnorm_is_reduced() -> None:
    model = Net(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.ReLU(), head=nn.Linear(8, 2)
    )
    merged = merge(model, torch.randn(4, 5), ratio=0.25)
    assert [merged.body[0].out_features, merged.body[3].out_features, merged.head.in_features] == [2, 2, 2]
    assert merged.body[3].bias is None


def test_activation_that_overwrites_the_layers_output_trains() -> None:
    """ConvA reads the convolution's output, which ReLU in place would have overwritten before the backward pass."""
    model = Net(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), head=nn.Conv2d(4, 2, 1))
    images = torch.randn(2, 3, 9, 9)
    branched = branch(model, images)
    branched.set_alpha(0.3)
    branched.train()(images).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in branched.parameters())


# --------------------------------------------------------------------------------------------------- what is left alone


def left(model: nn.Module, images: torch.Tensor) -> dict[str, str]:
    regions, reasons = regions_of(model, images)
    assert not regions
    return reasons


def test_reader_with_groups_is_refused_and_its_writer_left_alone() -> None:
    model = Net(nn.Conv2d(3, 4, 3), nn.ReLU(), head=nn.Conv2d(4, 4, 3, groups=2))
    assert "groups that would be mixed" in left(model, torch.randn(2, 3, 9, 9))["body.0"]


def test_layer_called_twice_is_left_alone() -> None:
    twice = nn.Conv2d(4, 4, 1)
    model = Net(nn.Conv2d(3, 4, 1), twice, nn.ReLU(), twice, nn.ReLU(), head=nn.Conv2d(4, 2, 1))
    reasons = left(model, torch.randn(2, 3, 5, 5))
    assert "called more than once" in reasons["body.1"] and "shared" in reasons["body.0"]


@pytest.mark.parametrize(
    "between", [nn.Softmax(dim=1), nn.GroupNorm(2, 4), nn.PixelShuffle(2), nn.PReLU(4), nn.LocalResponseNorm(2)]
)
def test_channels_that_do_not_keep_to_themselves_are_left_alone(between: nn.Module) -> None:
    channels = 1 if isinstance(between, nn.PixelShuffle) else 4
    model = Net(nn.Conv2d(3, 4, 1), between, head=nn.Conv2d(channels, 2, 1))
    assert "its channels go through" in left(model, torch.randn(2, 3, 6, 6))["body.0"]


def test_batchnorm_over_flattened_positions_is_left_alone() -> None:
    model = Net(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(4 * 9), head=nn.Linear(4 * 9, 2))
    assert "its channels go through" in left(model, torch.randn(2, 3, 5, 5))["body.0"]


def test_sum_with_what_is_no_layers_output_is_left_alone() -> None:
    class WithInput(Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(images) + images)

    model = WithInput(nn.Conv2d(3, 3, 1), head=nn.Conv2d(3, 2, 1))
    assert "its channels go through" in left(model, torch.randn(2, 3, 5, 5))["body.0"]


def test_network_that_cannot_be_traced_is_unsupported() -> None:
    model = Net(nn.Conv2d(3, 4, 1), head=nn.Conv2d(4, 2, 1), then=lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(Unsupported, match=r"torch\.fx cannot follow"):
        trace(model, torch.randn(2, 3, 5, 5))
    model = Net(nn.Conv2d(3, 4, 1), head=nn.Conv2d(4, 2, 1), then=lambda x: F.dropout(x, training=True))
    with pytest.raises(Unsupported, match="training flag"):
        trace(model, torch.randn(2, 3, 5, 5))


# ----------------------------------------------------------------------------------------------- while alpha falls


@pytest.fixture
def pair() -> tuple[Net, torch.Tensor]:
    torch.manual_seed(0)
    model = Net(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                head=nn.Conv2d(6, 2, 3, padding=1))  # fmt: skip
    return lively(model), torch.randn(2, 3, 8, 8)  # type: ignore[return-value]


def test_outputs_are_the_weighted_sum_of_both_ways(pair: tuple[Net, torch.Tensor]) -> None:
    """Fig. 3b by hand: alpha * original + (1 - alpha) * ConvB(pool(relu(norm(ConvA(...)))))."""
    model, images = pair
    model = model.eval()
    branched = branch(copy.deepcopy(model), images)
    branched.set_alpha(0.25)
    new = {path: branched.network.get_submodule(path) for table in (branched.reduced, branched.expanded, branched.norms)
           for path in table.values()}  # fmt: skip
    body = model.body
    with torch.no_grad():
        written = body[0](images)
        narrow = F.max_pool2d(F.relu(new[branched.norms["body.1"]](new[branched.reduced["body.0"]](written))), 2)
        blended = 0.25 * body[3](F.relu(body[1](written))) + 0.75 * new[branched.expanded["body.4"]](narrow)
        written = body[4](blended)
        narrow = F.relu(new[branched.norms["body.5"]](new[branched.reduced["body.4"]](written)))
        blended = 0.25 * F.relu(body[5](written)) + 0.75 * new[branched.expanded["head"]](narrow)
        assert torch.allclose(branched(images), model.head(blended), atol=1e-6)


def test_originals_are_dropped_at_zero(pair: tuple[Net, torch.Tensor]) -> None:
    model, images = pair
    branched = branch(model, images)
    whole = complexity.parameters(branched)
    norms = 2 * (4 + 6)
    branched.set_alpha(0.0)
    assert complexity.parameters(branched) == whole - norms, "the original BatchNorms are gone"
    assert not any(isinstance(each, Blend) for each in branched.modules())
    with torch.no_grad():
        before = branched(images)
        model.body[1].running_mean.add_(100.0)
        assert torch.equal(branched(images), before), "nothing of the original way is computed"


def test_frozen_originals_keep_weights_and_statistics_and_branches_learn(pair: tuple[Net, torch.Tensor]) -> None:
    model, images = pair
    before = copy.deepcopy(model.state_dict())
    branched = branch(model, images)
    branched.freeze_originals(True)
    branched.set_alpha(0.5)
    new = {name: each.detach().clone() for name, each in branched.named_parameters() if each.requires_grad}
    assert len(new) == 2 * (2 + 2 + 1), "ConvA with bias, BatchNorm and ConvB, twice"
    optimizer = torch.optim.SGD([each for each in branched.parameters() if each.requires_grad], lr=0.1)
    for _ in range(2):
        branched.train()
        branched(images).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    after = dict(branched.named_parameters())
    assert all(not torch.equal(tensor, after[name]) for name, tensor in new.items() if "bias" not in name)
    branched.freeze_originals(False)
    branched.train()(images)
    assert not torch.equal(model.body[1].running_mean, before["body.1.running_mean"]), "and thawed, they learn again"


def test_merged_network_takes_what_training_changed(pair: tuple[Net, torch.Tensor], tmp_path: Any) -> None:
    """Weights of originals and branches, and the running statistics of the branches' BatchNorms."""
    model, images = pair
    branched = branch(model, images)
    optimizer = torch.optim.SGD(branched.parameters(), lr=0.01)
    for alpha in (0.5, 0.0):
        branched.set_alpha(alpha)
        for _ in range(3):
            optimizer.zero_grad()
            branched.train()(images).square().mean().backward()
            optimizer.step()
    merged = branched.merged(model)
    assert merge_relative_error(branched, merged, images) <= 1e-5
    norm = branched.network.get_submodule(branched.norms["body.1"])
    assert torch.equal(merged.body[1].running_var, norm.running_var) and not torch.equal(
        norm.running_var, torch.ones(2)
    )
    assert all(each.requires_grad and each.grad is None for each in merged.parameters())


def test_merge_that_changes_the_outputs_is_an_error(pair: tuple[Net, torch.Tensor]) -> None:
    model, images = pair
    branched = branch(model, images)
    branched.set_alpha(0.0)
    merged = branched.merged(model)
    with torch.no_grad():
        merged.head.weight.mul_(1.001)
    with pytest.raises(SuiteError, match="outputs differ by"):
        merge_relative_error(branched, merged, images)


def test_merged_network_saves_and_reloads(tmp_path: Any) -> None:
    model, images = built("resnet18", width=0.125)
    merged = merge(model, images).eval()
    described = artifacts.describe(merged, name="resnet18", options={"width": 0.125}, input_shape=(3, 32, 32))
    artifacts.save(merged, tmp_path, described, {})
    with torch.inference_mode():
        assert relative_error(merged(images), artifacts.load(tmp_path)(images)) == 0


def test_new_weights_come_from_the_generator_alone(pair: tuple[Net, torch.Tensor]) -> None:
    model, images = pair
    torch.manual_seed(1)
    first = branch(copy.deepcopy(model), images).state_dict()
    torch.manual_seed(2)
    second = branch(copy.deepcopy(model), images).state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
