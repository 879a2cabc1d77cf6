"""Dynamic quantization: 8-bit weights in linear layers, whose inputs are rounded batch by batch."""

import torch
from torch import nn

from methods._pt2e import Scheme, finish, prepare
from suite import Unsupported, Workbench, register_method


@register_method(
    "quantize-dynamic",
    family="quantization",
    paper="Krishnamoorthi 2018, arXiv:1806.08342; torchao PT2E",
    points=[{}],
)
def quantize_dynamic(model: nn.Module, bench: Workbench) -> nn.Module:
    """Store the weights of linear layers as 8-bit integers and round their inputs by the range of each batch.

    Needs neither training nor calibration: the weights' scales (one for each output channel, symmetric) are read off
    the weights, and the inputs' scale and zero point off the inputs, every time. No convolution is touched, because
    finding the range of its input each time costs more than an INT8 kernel saves, and there is none that does. In the
    networks here nearly all weights are in convolutions, so this is the method that hardly changes anything: the
    curve's `quantized_share` says how much (0.03 % of VGG16). It is measured because it is the one line that people
    try first. A network without a linear layer is unsupported.

    BatchNorm is folded into the convolution before it, as in the other quantization methods. An image's output
    depends a little on the batch that it comes in, through the range of the linear layer's input.
    """
    if not any(isinstance(module, nn.Linear) for module in model.modules()):
        raise Unsupported("dynamic quantization is for linear layers, and this network has none")
    prepared = prepare(model, bench, Scheme(dynamic=True), "cpu")
    with torch.no_grad():
        prepared(bench.example_input.cpu())  # shows the weights to their observers; the input does not matter
    return finish(prepared, model, bench)
