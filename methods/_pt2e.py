"""What the three quantization methods share: export, torchao's PT2E steps, and the network that comes out."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchao.quantization.pt2e import (
    FusedMovingAvgObsFakeQuantize,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from suite import GraphNetwork, Unsupported, Workbench, portable

_CONVOLUTIONS = {torch.ops.aten.conv2d.default: False, torch.ops.aten.conv_transpose2d.input: True}  # transposed?
#: The smallest scale, as in the default configuration for x86.
_EPS = 2**-12


class OneScale(PerChannelMinMaxObserver):
    """One range for a whole weight, given to each of its channels: the INT8 kernels want a scale for each channel."""

    def calculate_qparams(self) -> Any:
        low, high = self.min_val.min(), self.max_val.max()
        return self._calculate_qparams(low.expand_as(self.min_val), high.expand_as(self.max_val))


@dataclass(frozen=True)
class Scheme:
    """How weights and activations become 8-bit numbers; `dynamic` finds the activations' ranges in each batch."""

    training: bool = False
    dynamic: bool = False
    per_channel: bool = True
    reduce_range: bool = False


def prepare(model: nn.Module, bench: Workbench, scheme: Scheme, device: str) -> fx.GraphModule:
    """The exported network with observers or fake quantization in it; the batch size stays free.

    Unsupported where torch.export or the quantizer's patterns cannot take the network.
    """
    # two samples: a size of one would be taken for a constant
    example = bench.example_input.to(device).expand(2, -1, -1, -1).clone()
    own = copy.deepcopy(model).to(device).eval()
    try:
        exported = torch.export.export(own, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
    except Exception as error:  # torch.export has no error of its own for what it cannot follow
        raise Unsupported(f"torch.export cannot follow this network: {_line(error)}") from error
    assert isinstance(exported, fx.GraphModule)
    try:
        if scheme.training:
            fold_batchnorm(exported)
        prepared: fx.GraphModule = (prepare_qat_pt2e if scheme.training else prepare_pt2e)(exported, _quantizer(scheme))
        return prepared
    except ValueError as error:
        if "more than one output node" not in str(error):
            raise
        raise Unsupported("PT2E's patterns refuse a module that is called twice: give each call its own") from error


def fold_batchnorm(exported: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution before it, in place, where nothing else reads that convolution.

    `prepare_pt2e` does the same by itself. `prepare_qat_pt2e` would keep BatchNorm apart, which costs two minutes of
    pattern matching at conversion, takes an eps of 1e-5 for granted, and leaves transposed convolutions unfolded.
    """
    for norm in [node for node in exported.graph.nodes if node.target is torch.ops.aten.batch_norm.default]:
        convolution = norm.args[0]
        if convolution.target not in _CONVOLUTIONS or len(convolution.users) > 1:
            continue
        of_convolution = [*convolution.args[1:3], None][:2]  # weight, and bias where there is one
        constants: list[Any] = [
            None if node is None else operator.attrgetter(node.target)(exported)
            for node in (*of_convolution, *norm.args[1:5])
        ]
        weight, bias, gamma, beta, mean, variance = constants
        folded = fuse_conv_bn_weights(weight, bias, mean, variance, norm.args[7], gamma, beta,
                                      transpose=_CONVOLUTIONS[convolution.target])  # fmt: skip
        with exported.graph.inserting_before(convolution):
            for at, value in enumerate(folded):
                path = f"folded_{norm.name}_{at}"
                exported.register_parameter(path, nn.Parameter(value.detach()))
                of_convolution[at] = exported.graph.get_attr(path)
        convolution.args = (convolution.args[0], *of_convolution, *convolution.args[3:])
        norm.replace_all_uses_with(convolution)
        exported.graph.erase_node(norm)
    exported.graph.eliminate_dead_code()
    exported.delete_all_unused_submodules()
    exported.recompile()


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0][:150]


def _quantizer(scheme: Scheme) -> X86InductorQuantizer:
    if scheme.dynamic:  # it would round the inputs of convolutions too, for which there is no such kernel
        return X86InductorQuantizer().set_module_type_qconfig(nn.Linear, _configuration(scheme))
    return X86InductorQuantizer().set_global(_configuration(scheme))


def _configuration(scheme: Scheme) -> Any:
    default = get_default_x86_inductor_quantization_config(
        is_qat=scheme.training, is_dynamic=scheme.dynamic, reduce_range=scheme.reduce_range
    )
    if scheme.training:
        # PT2E's own averages the ranges of weights over a hundred steps; weights are known exactly at each
        ranges = FusedMovingAvgObsFakeQuantize.with_args(
            observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=_EPS
        )
    elif scheme.per_channel:
        return default
    else:
        ranges = OneScale.with_args(eps=_EPS)
    return replace(default, weight=replace(default.weight, observer_or_fake_quant_ctr=ranges))


def finish(prepared: fx.GraphModule, like: nn.Module, bench: Workbench, **logged: float | int) -> GraphNetwork:
    """Convert a calibrated or trained network on the CPU; its validation score and share of INT8 weights are logged."""
    converted = convert_pt2e(prepared.cpu())
    network = portable(converted, like, tuple(bench.example_input.shape[1:])).to(bench.device)
    bench.log(**logged, quantized_share=network.quantized_share, val=bench.evaluate(network))
    return network


class Trainable(nn.Module):
    """An exported network under fake quantization that can be trained as any module is.

    Exported graphs refuse `train` and `eval`. Here the two say whether ranges of activations are learned; `freeze` ends
    that for good. The ranges of weights always follow the weights.
    """

    def __init__(self, prepared: fx.GraphModule) -> None:
        super().__init__()
        self.prepared = prepared
        self._frozen = False

    def freeze(self) -> None:
        self._frozen = True

    def train(self, mode: bool = True) -> Trainable:
        self.training = mode
        for module in self.prepared.modules():
            if isinstance(module, FusedMovingAvgObsFakeQuantize) and not module.is_per_channel:
                module.enable_observer(mode and not self._frozen)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # bfloat16 has 8 significant bits: an 8-bit number times its scale would be rounded a second time
        with torch.autocast(images.device.type, enabled=False):
            outputs: torch.Tensor = self.prepared(images.float())
        return outputs
