"""Quantization-aware training: the network is fine-tuned while its weights and activations are rounded to 8 bits."""

from torch import nn

from methods._pt2e import Scheme, Trainable, finish, prepare
from suite import Workbench, register_method


@register_method(
    "quantize-qat",
    family="quantization",
    paper="Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342",
    points=[{}],
)
def quantize_qat(
    model: nn.Module,
    bench: Workbench,
    *,
    epochs: int = 8,
    frozen_epochs: int = 2,
    lr: float = 0.002,
    reduce_range: bool = False,
) -> nn.Module:
    """Fine-tune with rounding in the forward pass, then convert to 8-bit integers as static quantization does.

    Each weight and activation is rounded to what its 8-bit number will be; gradients pass as if it were not (the
    straight-through estimator; Jacob et al., section 3). In the last epochs the activations' ranges stand still, so
    that the weights settle on those that will be used.

    How: torchao's PT2E, as in quantize-static, with its rounding modules in place of observers. Activations' ranges
    are moving averages of the smallest and largest values, a hundredth of each batch; weights' ranges are their own at
    each step. Training is in float32 whatever the hardware: bfloat16 or TF32 would round a second time. Transposed
    convolutions stay float; `quantized_share` of the curve says how much of the weights became INT8.

    Where we differ from the papers: training starts from the trained float network with a small learning rate, and
    ranges are learned from the first batch on, not after many thousand steps. BatchNorm is folded into the convolution
    before it at the start, and the folded weights are trained; the papers keep it until the end, with its statistics
    frozen after a while (Krishnamoorthi, section 3.2.2). For the few epochs of a trained network that is the same
    rounding with fewer parts: what is trained is exactly what is converted.

    What to expect: the size and the speed of static quantization, and an accuracy that training may have mended. Where
    static quantization loses nothing, there is little to mend.

    - `epochs`: training with rounding, in epochs of the full profile.
    - `frozen_epochs`: more of it, with ranges frozen, at a tenth of the learning rate.
    - `lr`: peak learning rate.
    - `reduce_range`: 7 bits for activations, for processors without VNNI (see quantize-static).
    """
    prepared = prepare(model, bench, Scheme(training=True, reduce_range=reduce_range), bench.device)
    trainable = Trainable(prepared)
    bench.finetune(trainable, epochs=epochs, lr=lr, autocast=False, label="train with rounding")
    trainable.freeze()
    frozen = "train with rounding, ranges frozen"
    bench.finetune(trainable, epochs=frozen_epochs, lr=lr / 10, autocast=False, label=frozen)
    trainable.eval()
    bench.log(step=0, val=bench.evaluate(trainable))
    return finish(prepared, model, bench, step=1)
