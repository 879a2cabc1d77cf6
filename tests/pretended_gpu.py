"""A GPU that is not there: tensors in ordinary memory that say they are on `cuda:0`, and refuse what a GPU refuses.

What it shows is where tensors are put: two devices in one operation, a generator of the CPU's for random numbers of the
GPU's, a tensor handed to NumPy without being copied. It knows no kernels, streams or precision of a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
#: What takes tensors of two devices on a real GPU, too: copies and a question; what is there, indexed from the CPU.
COPIES = {"aten::copy_", "aten::_to_copy", "aten::_has_compatible_shallow_copy_type"}
INDEXED = {"aten::index", "aten::_unsafe_index"}
_LEAVING: ContextVar[bool] = ContextVar("leaving", default=False)


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU; `kept` is where its numbers really are."""

    kept: torch.Tensor
    device = GPU  # type: ignore[assignment]
    is_cuda = True  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> OnGpu:
        made: OnGpu = torch.Tensor._make_subclass(cls, kept)
        made.kept = kept
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> OnGpu:
        if id(self) not in memo:
            copy = OnGpu(self.kept.detach().clone(memory_format=torch.preserve_format))
            copy.requires_grad_(self.requires_grad)
            copy._is_param = isinstance(self, torch.nn.Parameter)  # type: ignore[attr-defined]
            memo[id(self)] = copy
        found: OnGpu = memo[id(self)]
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(operation: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """One operation of ATen's: may its inputs meet on a GPU, and where is its result?"""
    given = tree_leaves((args, kwargs))
    there = [each for each in given if isinstance(each, OnGpu)]
    # a GPU takes the CPU's scalars
    here = [each for each in given if isinstance(each, torch.Tensor) and not isinstance(each, OnGpu) and each.dim()]
    name = operation._schema.name
    # torch's own C++ believes that what is there is on the CPU, and asks for more of the same
    lands_there = not _LEAVING.get() and (is_gpu(kwargs.get("device")) or bool(there))
    if name == "aten::copy_":
        lands_there = isinstance(args[0], OnGpu)
    if lands_there and any(isinstance(each, torch.Generator) for each in given):
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' in {name}")
    if there and here and name not in COPIES and not (name in INDEXED and isinstance(args[0], OnGpu)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu in {name}")
    if "device" in kwargs:
        kwargs = {**kwargs, "device": CPU}
    result = operation(*_kept(args), **_kept(kwargs))
    if not lands_there or name == "aten::_local_scalar_dense":
        return result
    known = {id(each.kept): each for each in there}  # what was changed in place is the same tensor still
    return tree_map_only(torch.Tensor, lambda each: known[id(each)] if id(each) in known else OnGpu(each), result)


def _kept(given: Any) -> Any:
    return tree_map_only(OnGpu, lambda each: each.kept, given)


def is_gpu(device: Any) -> bool:
    return isinstance(device, str | torch.device) and str(device) in ("cuda", "cuda:0")


def is_cpu(device: Any) -> bool:
    return isinstance(device, str | torch.device) and str(device) == "cpu"


class _Operations(TorchDispatchMode):
    """What makes a tensor on the GPU from nothing, and what copies one there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """What Python's calls decide by a device before any operation of ATen's is asked."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = [GPU if is_gpu(each) else each for each in args]  # with its number: torch would ask the driver for it
        kwargs = {key: GPU if is_gpu(each) else each for key, each in (kwargs or {}).items()}
        name = getattr(func, "__name__", "")
        if args and isinstance(args[0], OnGpu) and name == "numpy":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor")
        if args and isinstance(args[0], OnGpu) and name in ("tolist", "data_ptr"):
            return getattr(args[0].kept, name)()
        if args and isinstance(args[0], torch.Tensor) and name in ("to", "cpu", "cuda"):
            return moved(args[0], {"cpu": [CPU], "cuda": [GPU]}.get(name, args[1:]), kwargs)
        if func in (torch.tensor, torch.as_tensor) and is_gpu(kwargs.get("device")):
            return moved(func(*args, **{**kwargs, "device": CPU}), [GPU], {})
        if args and isinstance(args[0], OnGpu) and name == "new_tensor":
            return moved(args[0].kept.new_tensor(*args[1:], **kwargs), [kwargs.get("device", GPU)], {})
        return func(*args, **kwargs)


def moved(tensor: torch.Tensor, wanted: list[Any], options: Mapping[str, Any]) -> torch.Tensor:
    """What `tensor.to(*wanted, **options)` gives, where one of the two devices is pretended."""
    if wanted and isinstance(wanted[0], torch.Tensor):
        wanted = [wanted[0].device, wanted[0].dtype, *wanted[1:]]
    options = dict(options)
    device = options.pop("device", None) or next((each for each in wanted if is_gpu(each) or is_cpu(each)), None)
    if device is None or is_gpu(device) == isinstance(tensor, OnGpu):  # it stays where it is
        rest = [each for each in wanted if not (is_gpu(each) or is_cpu(each))]
        with torch._C.DisableTorchFunctionSubclass():
            return tensor.to(*rest, **options) if rest or options else tensor
    dtype = options.get("dtype") or next((each for each in wanted if isinstance(each, torch.dtype)), tensor.dtype)
    with _leaving(is_cpu(device)):
        copy: torch.Tensor = torch.ops.aten._to_copy(tensor, device=torch.device(device), dtype=dtype)
    layout = options.get("memory_format")
    return copy if layout is None else copy.contiguous(memory_format=layout)


@contextlib.contextmanager
def _leaving(whether: bool) -> Iterator[None]:
    """Copies to the CPU that Python asked for, unlike those of torch's own C++, which takes all to be there."""
    token = _LEAVING.set(whether)
    try:
        yield
    finally:
        _LEAVING.reset(token)


@contextlib.contextmanager
def gpu() -> Iterator[None]:
    """While it lasts, `cuda` is a device as any other, without bf16; tensors there can be used until it ends."""
    swaps = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, swaps)
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # `module.to` else assigns a tensor's storage
        stack.enter_context(mock.patch("torch.cuda._lazy_init"))
        stack.enter_context(mock.patch("torch.cuda.is_bf16_supported", return_value=False))
        stack.enter_context(_Calls())
        stack.enter_context(_Operations())
        yield
