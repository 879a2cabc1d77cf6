"""Static post-training quantization: 8-bit weights and activations, whose ranges are calibrated beforehand."""

import torch
from torch import nn

from methods._pt2e import Scheme, finish, prepare
from suite import Workbench, register_method


@register_method(
    "quantize-static",
    family="quantization",
    paper="Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342",
    points=[{}, {"per_channel": False}],
)
def quantize_static(
    model: nn.Module, bench: Workbench, *, batches: int = 8, per_channel: bool = True, reduce_range: bool = False
) -> nn.Module:
    """Turn weights and activations into 8-bit integers without training, so that convolutions run on INT8 kernels.

    A real number r is stored as an integer q with r = scale * (q - zero point) (Jacob et al., eq. 1). Weights are
    symmetric (zero point 0, -128 to 127) with a scale for each output channel; activations are unsigned with one scale
    and zero point for each tensor, found by running training images through the network. BatchNorm is folded into the
    convolution before it. Krishnamoorthi (section 3.1) finds that scales per channel keep most networks within one or
    two points of float, and that one scale for a whole weight can cost nearly everything once BatchNorm is folded.

    How: torch.export reads the network into a graph, torchao's PT2E puts observers where the x86 kernels want 8-bit
    numbers, and converts. torch.compile then fuses what lies between into oneDNN's INT8 convolutions. Run without it,
    the same graph imitates the integers in float32: its accuracy counts, its time does not. So this method is timed
    compiled, and only on a CPU.

    Where we differ from the papers: a range is the one whose histogram loses least in mean square (PT2E's default),
    not the smallest and largest value seen; biases stay float32. Transposed convolutions have no INT8 kernel and stay
    float; `quantized_share` of the curve says how much of the weights became INT8.

    What to expect: a file of a quarter of the size, and little loss. The report on GoogLeNet tried static quantization
    and gave up for lack of a model "with good accuracy" (cifar100-googlenet-report, Others).

    - `batches`: batches of training images, not augmented, that calibrate the activations' ranges.
    - `per_channel`: a scale for each output channel of a weight; otherwise one for the whole weight.
    - `reduce_range`: 7 bits for activations. Processors without VNNI add pairs of products in 16 bits, which can
      overflow with 8, so that their kernels compute something else than the accuracy that is recorded.
    """
    scheme = Scheme(per_channel=per_channel, reduce_range=reduce_range)
    prepared = prepare(model, bench, scheme, "cpu")
    with torch.no_grad():
        for inputs, _ in bench.calibration_batches(batches):
            prepared(inputs.cpu())
    return finish(prepared, model, bench, batches=batches)
