"""A network as a graph of known operators: what quantization leaves of a model, saved as plain data and made again.

A converted network has no layers any more, only calls of operators. Here such a graph is read into a list of calls,
`[operator, arguments]`, and built from one. torch.fx turns a graph into Python source, so nothing from a file ever
gets there unchecked: operators come from a fixed list, arguments are numbers, types and references of the kinds that
the operator's schema wants, and all names are ours.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from suite import partitions
from suite.errors import ArtifactError, Unsupported, said
from suite.layers import Layers, read_layers

partitions.mend()  # here, because whatever quantizes stores a graph of this file's kind

_aten, _decomposed = torch.ops.aten, torch.ops.quantized_decomposed
#: All that a graph may be made of; in-place operators are read as their functional twins.
OPERATORS: Mapping[str, Any] = {
    str(each): each
    for each in (
        _aten.conv2d.default,
        _aten.conv_transpose2d.input,
        _aten.linear.default,
        _aten.batch_norm.default,
        _aten.relu.default,
        _aten.relu6.default,
        _aten.leaky_relu.default,
        _aten.hardtanh.default,
        _aten.sigmoid.default,
        _aten.tanh.default,
        _aten.max_pool2d.default,
        _aten.avg_pool2d.default,
        _aten.adaptive_avg_pool2d.default,
        _aten.mean.dim,
        _aten.flatten.using_ints,
        _aten.view.default,
        _aten.reshape.default,
        _aten.add.Tensor,
        _aten.mul.Tensor,
        _aten.cat.default,
        _aten.narrow.default,
        _aten.expand.default,
        _decomposed.quantize_per_tensor.default,
        _decomposed.quantize_per_tensor.tensor,
        _decomposed.dequantize_per_tensor.default,
        _decomposed.dequantize_per_tensor.tensor,
        _decomposed.dequantize_per_channel.default,
        _decomposed.choose_qparams.tensor,
    )
}
#: Takes one result of an operator that has several.
GETITEM = "getitem"
DTYPES: Mapping[str, torch.dtype] = {"uint8": torch.uint8, "int8": torch.int8, "float32": torch.float32}
#: No graph that we would rebuild is longer, no value in it larger: a few hundred calls, 2**23 numbers are usual.
MOST_NODES = 10_000
MOST_VALUES = 2**28
_MOST_LIST = 64
#: Of a tensor's name in the state dict of a GraphNetwork; the graph has it without.
PREFIX = "body."
_BATCH = 3  # of the trial run without data: a batch size that no layer has by chance


class Graph(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A network as data.

    Each node is an operator's name and its arguments: plain values, `{"node": i}` for the result of node i (0 is the
    input, node i stands at `nodes[i - 1]`), `{"tensor": "t3"}`, `{"dtype": "uint8"}`, or lists of these. `output` is a
    node; `parameters` names the tensors that are weights or biases, the others are scales and the like.
    """

    nodes: list[tuple[str, list[Any]]]
    output: int
    parameters: list[str]


class GraphNetwork(nn.Module):
    """A network without layers: (N, C, H, W) in, any N, and what the network it was made from gave out.

    Weights and biases are parameters (int8 or float32, not trainable), scales and zero points are buffers. `layers` are
    the shapes of the float network that was quantized. Run as it is, the graph imitates integers in float32. It becomes
    INT8 kernels under torch.compile, with inductor's `freezing` on, in inference mode, and only where torchao's
    x86_inductor_quantizer was imported, which registers them: without it, the compiled network silently stays float32.
    """

    def __init__(self, body: fx.GraphModule, graph: Graph, layers: Layers) -> None:
        super().__init__()
        self.body = body
        self.graph = graph
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.body(images)
        return outputs

    @property
    def quantized_share(self) -> float:
        """The share of the weights (biases left out) that are int8."""
        sizes = [(each.numel(), each.dtype == torch.int8) for each in self.parameters() if each.dim() > 1]
        return sum(size for size, is_int8 in sizes if is_int8) / max(1, sum(size for size, _ in sizes))


# ------------------------------------------------------------------------------------------------------------- reading


def portable(converted: fx.GraphModule, like: nn.Module, input_shape: tuple[int, ...]) -> GraphNetwork:
    """An exported and converted network as a GraphNetwork on the CPU, with the tensors it needs and no others.

    `like` is the float network before quantization, `input_shape` (C, H, W) of one sample. Unsupported names an
    operator that is not in `OPERATORS`.
    """
    reader = _Reader(converted)
    graph = Graph(reader.nodes, reader.output, [name for name in reader.tensors if name in reader.parameters])
    return rebuild(graph, reader.tensors, read_layers(like), input_shape)


class _Reader:
    """Goes once through an fx graph; `nodes`, `output`, `tensors` and `parameters` are what it found."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.nodes: list[tuple[str, list[Any]]] = []
        self.output = 0
        self.tensors: dict[str, torch.Tensor] = {}
        self.parameters: set[str] = set()
        self._targets: dict[str, str] = {}
        self._numbers: dict[fx.Node, int] = {}
        inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise Unsupported(f"the network takes {len(inputs)} inputs; one is portable")
        self._numbers[inputs[0]] = 0
        for node in module.graph.nodes:
            self._read(node)

    def _read(self, node: fx.Node) -> None:
        if node.op == "output":
            (result,) = node.args
            results = result if isinstance(result, list | tuple) else (result,)
            if len(results) != 1 or not isinstance(results[0], fx.Node):
                raise Unsupported("the network has several outputs; one is portable")
            self.output = self._numbers[results[0]]
        elif node.op == "call_function" and not _is_counter(node):
            self._call(node)
        elif node.op == "call_module" and node.users:  # torch.export's guards on the input have no users
            raise Unsupported(f"the network calls a module that was not exported: {node.target}")

    def _call(self, node: fx.Node) -> None:
        name = str(node.target)
        if node.target is operator.getitem:
            self._add(node, GETITEM, [self._plain(each) for each in node.args])
            return
        if name in ("aten.dropout.default", "aten.dropout_.default") and node.args[2] is False:
            self._numbers[node] = self._numbers[node.all_input_nodes[0]]
            return
        if name not in OPERATORS and name.replace("_.", ".") in OPERATORS:
            if len(node.all_input_nodes[0].users) > 1:
                raise Unsupported(f"{name} changes a value in place that is used elsewhere")
            name = name.replace("_.", ".")
        if name not in OPERATORS:
            raise Unsupported(f"the network uses {name}, which is not among the portable operators")
        schema = OPERATORS[name]._schema.arguments
        given = list(node.args)
        for argument in schema[len(given) :]:
            if argument.name not in node.kwargs or argument.kwarg_only:
                break
            given.append(node.kwargs[argument.name])
        if len(given) != len(node.args) + len({k: v for k, v in node.kwargs.items() if v is not None}):
            raise Unsupported(f"the network calls {name} with {', '.join(node.kwargs)}, which is not portable")
        self._add(node, name, [self._plain(each) for each in given])
        if name.startswith("quantized_decomposed.dequantize") and "tensor" in (first := self.nodes[-1][1][0]):
            self.parameters.add(first["tensor"])

    def _add(self, node: fx.Node, name: str, arguments: list[Any]) -> None:
        self.nodes.append((name, arguments))
        self._numbers[node] = len(self.nodes)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            return {"tensor": self._tensor(value)} if value.op == "get_attr" else {"node": self._numbers[value]}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        return value

    def _tensor(self, node: fx.Node) -> str:
        target = str(node.target)
        if target not in self._targets:
            value = operator.attrgetter(target)(self.module)
            name = self._targets[target] = f"t{len(self._targets)}"
            self.tensors[name] = value.detach().cpu().contiguous()
            if isinstance(value, nn.Parameter):
                self.parameters.add(name)
        return self._targets[target]


def _is_counter(node: fx.Node) -> bool:
    """Does it count BatchNorm's batches, which nothing reads?"""
    return str(node.target) == "aten.add_.Tensor" and not node.users and node.all_input_nodes[0].op == "get_attr"


# ------------------------------------------------------------------------------------------------------------ building


def describe(network: GraphNetwork) -> dict[str, Any]:
    """The graph as data that JSON can hold; with `network.state_dict()` all that `rebuild` needs but the layers."""
    plain: dict[str, Any] = msgspec.to_builtins(network.graph)
    return plain


def rebuild(
    graph: Graph | Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    layers: Layers,
    input_shape: tuple[int, ...],
) -> GraphNetwork:
    """The network of a graph and its tensors, in eval mode; ArtifactError where they do not make one.

    Before anything is computed, every call is checked against its operator's schema, and the whole is run once without
    data: the sizes of all values are known and bounded, and the batch size is free.
    """
    if not isinstance(graph, Graph):
        try:
            graph = msgspec.convert(graph, Graph)
        except msgspec.ValidationError as error:
            raise ArtifactError(f"the graph is none that was written here: make it again {said(error)}") from error
    if len(graph.nodes) > MOST_NODES:
        raise ArtifactError(f"a graph of {len(graph.nodes):,} calls: {MOST_NODES:,} are the most that is rebuilt")
    body = _Builder(graph, tensors).body
    _try_without_data(body, input_shape)
    return GraphNetwork(body, graph, layers).eval()


class _Builder:
    """Makes the fx graph of a description as it checks it; all names in it are n1, n2, ... and t0, t1, ..."""

    def __init__(self, graph: Graph, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors
        self.root = nn.Module()
        self.parameters = frozenset(graph.parameters)
        self.fx = fx.Graph()
        self.values = [self.fx.placeholder("images")]
        self._held: dict[str, fx.Node] = {}
        for name, arguments in graph.nodes:
            self.values.append(self._call(name, arguments))
        self.fx.output(self._node(graph.output))
        spare = (set(tensors) | self.parameters) - set(self._held)
        if spare:
            raise ArtifactError(f"tensor {min(spare)!r} is not used by the graph")
        self.body = fx.GraphModule(self.root, self.fx)

    def _call(self, name: str, arguments: list[Any]) -> fx.Node:
        at = f"n{len(self.values)}"
        if name == GETITEM:
            if len(arguments) != 2 or type(arguments[1]) is not int or not 0 <= arguments[1] < 8:
                raise ArtifactError(f"{at} takes a part that does not exist")
            return self.fx.create_node(
                "call_function", operator.getitem, (self._tensor(arguments[0]), arguments[1]), name=at
            )
        if name not in OPERATORS:
            raise ArtifactError(f"{at} calls {name[:60]!r}, which is not among the portable operators")
        target = OPERATORS[name]
        schema = [each for each in target._schema.arguments if not each.kwarg_only]
        required = sum(not each.has_default_value() for each in schema)
        if not required <= len(arguments) <= len(schema):
            raise ArtifactError(f"{at} calls {name} with {len(arguments)} arguments")
        try:
            checked = [self._value(str(s.real_type), v) for s, v in zip(schema, arguments, strict=False)]
        except ArtifactError as error:
            raise ArtifactError(f"{at} calls {name} with {error}") from error
        if target is _aten.batch_norm.default and checked[5] is not False:
            raise ArtifactError(f"{at} is a BatchNorm in training mode")
        if name.startswith("quantized_decomposed.dequantize"):
            self._check_symmetric(at, arguments)
        return self.fx.create_node("call_function", target, tuple(checked), name=at)

    def _check_symmetric(self, at: str, arguments: list[Any]) -> None:
        """A stored weight is zero where its number is: its zero points are all 0."""
        if "tensor" in arguments[0]:
            held = arguments[2]
            if isinstance(held, dict):  # anything but a stored tensor is no known zero point
                symmetric = held.get("tensor") in self.tensors and not bool(self.tensors[held["tensor"]].any())
            else:
                symmetric = held in (0, None)
            if not symmetric:
                raise ArtifactError(f"{at} reads weights whose zero point is not 0")

    def _value(self, kind: str, value: Any) -> Any:
        """A described argument as the schema's `kind` of value, such as Optional[Tensor] or List[int]."""
        if kind.startswith("Optional["):
            return None if value is None else self._value(kind[9:-1], value)
        if kind == "Tensor":
            return self._tensor(value)
        if kind == "ScalarType":
            name = value.get("dtype") if isinstance(value, dict) and len(value) == 1 else None
            if not isinstance(name, str) or name not in DTYPES:
                raise ArtifactError("an unknown type of numbers")
            return DTYPES[name]
        if kind.startswith("List["):
            if not isinstance(value, list) or len(value) > _MOST_LIST:
                raise ArtifactError("something else than a list")
            return [self._value(kind[5:-1], each) for each in value]
        allowed: Mapping[str, tuple[type, ...]] = {"int": (int,), "bool": (bool,), "float": (float, int),
                                                   "number": (float, int)}  # fmt: skip
        if type(value) not in allowed.get(kind, ()) or not math.isfinite(value) or abs(value) >= 2**31:
            raise ArtifactError(f"something else than a {kind}")
        return value

    def _tensor(self, value: Any) -> fx.Node:
        if isinstance(value, dict) and len(value) == 1:
            if "node" in value:
                return self._node(value["node"])
            if "tensor" in value:
                return self._constant(value["tensor"])
        raise ArtifactError("something else than a tensor")

    def _node(self, number: Any) -> fx.Node:
        if type(number) is not int or not 0 <= number < len(self.values):
            raise ArtifactError("the result of a call that does not come before it")
        return self.values[number]

    def _constant(self, name: Any) -> fx.Node:
        if not isinstance(name, str) or name not in self.tensors:
            raise ArtifactError("a tensor that is not there")
        if name not in self._held:
            if name[:1] != "t" or not (name[1:].isascii() and name[1:].isdigit()) or len(name) > 8:
                raise ArtifactError("a tensor whose name is not t0, t1, ...")
            tensor = self.tensors[name]
            if name in self.parameters:
                self.root.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.root.register_buffer(name, tensor)
            self._held[name] = self.fx.get_attr(name)
        return self._held[name]


class _Sizes(fx.Interpreter):
    """Runs a graph on tensors without data and refuses values beyond all sizes."""

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, torch.Tensor) and each.numel() > _BATCH * MOST_VALUES:
                raise ArtifactError(f"{node.name} has {each.numel() // _BATCH:,} values: {MOST_VALUES:,} are the most")
        return result


def _try_without_data(body: fx.GraphModule, input_shape: tuple[int, ...]) -> None:
    if not 0 < math.prod(input_shape) <= MOST_VALUES:
        raise ArtifactError(f"an input of {input_shape} is impossible")
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            trial = _Sizes(body)
            trial.extra_traceback = False  # it would write pages into the error's message
            outputs = trial.run(torch.empty(_BATCH, *input_shape))
    except ArtifactError:
        raise
    except Exception as error:  # operators have no error of their own for arguments that do not fit
        raise ArtifactError(f"the graph does not fit together: make it again {said(error)}") from error
    if not isinstance(outputs, torch.Tensor) or outputs.dim() < 2 or outputs.shape[0] != _BATCH:
        raise ArtifactError("the graph has a fixed batch size, or no output for each sample")
