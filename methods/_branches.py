"""The network that branch-alpha trains: a narrow branch beside each region's values, and the merge at the end."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import fx, nn

from methods._folding import fold, relative_error
from methods._regions import Region, carries, is_layer, module_of, shape, works_in_place
from suite import SuiteError, kept_channels

#: The most that folding may change the outputs, relative to the largest of them.
MERGE_TOLERANCE = 1e-4


class Blend(nn.Module):
    """alpha * original + (1 - alpha) * branch."""

    alpha = 1.0

    def forward(self, original: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        # lerp gives the original bit for bit at alpha = 1
        return torch.lerp(branch.to(original.dtype), original, self.alpha)


class BranchedNetwork(nn.Module):
    """A traced network with a branch of `channel_ratio` of the channels beside each region (Fig. 3b of the paper).

    ConvA (a 1x1 convolution, or a linear layer) takes N channels to M right after each layer that writes them; copies
    of the calls between follow, with BatchNorms of their own; ConvB takes M channels back to N right before the layers
    that read them, where the two are blended. ConvA has a bias where its layer has one; ConvB has none, because the
    next layer may pad with zeros. The original modules are those of `model`, not copies: training changes both.
    `rng` draws the new weights, as torch's own layers do.
    """

    def __init__(
        self,
        model: nn.Module,
        traced: fx.GraphModule,
        regions: Sequence[Region],
        *,
        channel_ratio: float,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.network = traced
        self.frozen = False
        self._prefix = "branches"
        while hasattr(model, self._prefix):
            self._prefix += "_"
        self._inserted = 0
        self._rng = rng
        #: path of an original module -> path of the ConvA after it, the ConvB before it, the BatchNorm in its place
        self.reduced: dict[str, str] = {}
        self.expanded: dict[str, str] = {}
        self.norms: dict[str, str] = {}
        for region in regions:
            self._add_branch(region, channel_ratio)
        self._clean()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.network(inputs)
        return outputs

    def train(self, mode: bool = True) -> BranchedNetwork:
        """As always, but frozen originals keep their BatchNorm statistics."""
        super().train(mode)
        if self.frozen:
            for path, module in self.network.named_modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and not self._is_new(path):
                    module.eval()
        return self

    def set_alpha(self, alpha: float) -> None:
        """The weight of the original; at 0 the original ways are dropped for good, and no more computed."""
        for module in self.network.modules():
            if isinstance(module, Blend):
                module.alpha = alpha
        if alpha == 0:
            for node in list(self.network.graph.nodes):
                if isinstance(module_of(node), Blend):
                    node.replace_all_uses_with(node.args[1])
            self._clean()

    def freeze_originals(self, frozen: bool) -> None:
        """Are the weights that came with the model kept as they are?"""
        self.frozen = frozen
        for path, parameter in self.network.named_parameters():
            if not self._is_new(path):
                parameter.requires_grad_(not frozen)

    def merged(self, model: nn.Module) -> nn.Module:
        """A copy of `model`, the network it was made from, with each ConvA and ConvB folded into its neighbour."""
        result = copy.deepcopy(model)
        for path in dict.fromkeys([*self.reduced, *self.expanded]):
            layer = model.get_submodule(path)
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
            folded = fold(
                layer,
                expand=self.network.get_submodule(self.expanded[path]) if path in self.expanded else None,
                reduce=self.network.get_submodule(self.reduced[path]) if path in self.reduced else None,
            )
            result.set_submodule(path, folded)
        for path, norm in self.norms.items():
            result.set_submodule(path, copy.deepcopy(self.network.get_submodule(norm)))
        for parameter in result.parameters():
            parameter.requires_grad_(True)
        result.zero_grad(set_to_none=True)
        return result

    # ------------------------------------------------------------------------------------------------------- building

    def _is_new(self, path: str) -> bool:
        return path.startswith(f"{self._prefix}.")

    def _add_branch(self, region: Region, channel_ratio: float) -> None:
        twins: dict[fx.Node, fx.Node] = {}  # a value of the original -> the branch's in its place
        wide: dict[fx.Node, int] = {}  # channels of the original
        narrow: dict[fx.Node, int] = {}  # of the branch
        for source in region.sources:
            wide[source] = shape(source)[1]
            narrow[source] = kept_channels(wide[source], channel_ratio)
            biased = getattr(module_of(source), "bias", None) is not None
            reduce = self._one_by_one(wide[source], narrow[source], dimensions=len(shape(source)), bias=biased)
            twins[source] = self._insert(reduce, "reduce", source, source)
            self.reduced[str(source.target)] = str(twins[source].target)
        for node in region.carriers:
            inputs = node.all_input_nodes
            if carries(node) == "concatenation":
                inputs = list(cast(Sequence[fx.Node], node.args[0]))
                wide[node], narrow[node] = sum(wide[each] for each in inputs), sum(narrow[each] for each in inputs)
            else:
                wide[node], narrow[node] = wide[inputs[0]], narrow[inputs[0]]
            twins[node] = self._twin(node, twins, narrow[node], spread=node in region.spread)
        for value in region.exits:
            self._add_exit(value, twins[value], wide[value], narrow[value], spread=value in region.spread)
        for source in region.sources:
            self._protect(source)

    def _twin(self, node: fx.Node, twins: dict[fx.Node, fx.Node], channels: int, *, spread: bool) -> fx.Node:
        """The branch's copy of a call, right after it; a flatten waits until ConvB has done its work."""
        kind, norm = carries(node), module_of(node)
        if kind == "flatten" and spread:
            return twins[node.all_input_nodes[0]]
        if kind == "norm":
            assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
            fresh = type(norm)(channels, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            twin = self._insert(fresh, "norm", node, twins[node.all_input_nodes[0]])
            self.norms[str(node.target)] = str(twin.target)
            return twin
        with self.network.graph.inserting_after(node):
            return self.network.graph.node_copy(node, lambda each: twins[each])

    def _add_exit(self, value: fx.Node, twin: fx.Node, wide: int, narrow: int, *, spread: bool) -> None:
        """ConvB and the blend, right before the layers that read a value."""
        # a layer's own output is also read by its ConvA, which is new
        readers = [user for user in value.users if is_layer(user) and not self._is_new(str(user.target))]
        dimensions = 4 if spread else len(shape(value))
        # a twin comes right after its original, but that of a flatten that waits is before it
        last = value if carries(value) == "flatten" and spread else twin
        expand = self._one_by_one(narrow, wide, dimensions=dimensions, bias=False)
        widened = self._insert(expand, "expand", last, twin)
        self.expanded |= {str(reader.target): str(widened.target) for reader in readers}
        if spread:
            with self.network.graph.inserting_after(widened):
                branch = self.network.graph.call_function(torch.flatten, (widened, 1))
        else:
            branch = widened
        blend = self._insert(Blend(), "blend", branch, value, branch)
        for reader in readers:
            reader.replace_input_with(value, blend)

    def _protect(self, source: fx.Node) -> None:
        """ConvA reads the layer's own output: a call that would overwrite it gets a copy."""
        for user in list(source.users):
            if works_in_place(user):
                with self.network.graph.inserting_after(source):
                    user.replace_input_with(source, self.network.graph.call_method("clone", (source,)))

    def _one_by_one(self, channels: int, out: int, *, dimensions: int, bias: bool) -> nn.Module:
        """ConvA or ConvB: a 1x1 convolution, for values of two dimensions a linear layer, with weights from `rng`."""
        layer = nn.Linear(channels, out, bias=bias) if dimensions == 2 else nn.Conv2d(channels, out, 1, bias=bias)
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=self._rng)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -(channels**-0.5), channels**-0.5, generator=self._rng)
        return layer

    def _insert(self, module: nn.Module, role: str, after: fx.Node, *inputs: fx.Node) -> fx.Node:
        """Call a new module on `inputs`, right after a node."""
        self._inserted += 1
        path = f"{self._prefix}.{role}{self._inserted}"
        like = next(self.network.parameters())
        self.network.add_submodule(path, module.to(like.device, like.dtype))
        with self.network.graph.inserting_after(after):
            return self.network.graph.call_module(path, inputs)

    def _clean(self) -> None:
        """Forget what nothing reads any more, and turn the graph into code again."""
        for node in reversed(list(self.network.graph.nodes)):
            if not node.users and node.op not in ("placeholder", "output"):
                self.network.graph.erase_node(node)
        self.network.delete_all_unused_submodules()
        self.network.graph.lint()
        self.network.recompile()


def merge_relative_error(branched: BranchedNetwork, merged: nn.Module, inputs: torch.Tensor) -> float:
    """max|a - b| / max|a| between the outputs of both in eval mode; SuiteError where it is over 1e-4.

    In float32 on the CPU, where nothing rounds to fewer bits. Of the originals nothing may be left.
    """
    before, after = (copy.deepcopy(each).cpu().float().eval() for each in (branched, merged))
    with torch.inference_mode():
        error = relative_error(before(inputs.cpu().float()), after(inputs.cpu().float()))
    if not error <= MERGE_TOLERANCE:  # so that NaN fails too
        raise SuiteError(
            f"the merged network's outputs differ by {error:.1e} of their largest, over {MERGE_TOLERANCE:.0e}: "
            "a smaller learning rate may keep its values in range"
        )
    return error
