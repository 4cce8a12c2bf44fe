"""A pretended GPU: tensors that say `cuda`, hold their data on the CPU, and count what a GPU would have to do.

It finds what a GPU would refuse (operands on two devices, `.numpy()` of device memory) and what would make one wait (copies
to the host, reads of single values, results whose shape depends on data). It cannot say how long a kernel takes, nor test
kernels that exist only in CUDA.

A tensor on the pretended GPU is a wrapper subclass. Each operation arrives in `__torch_dispatch__`, below autograd, is
checked and counted there, and runs on the wrapped CPU tensors, so its results equal the CPU's. A function mode sends calls
that name a cuda device (`torch.zeros(..., device="cuda")`, `tensor.to(device)`) to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.accelerator.counting import Counts as Counts  # re-exported
from tests.accelerator.counting import copied_to_device, copied_to_host, count_operation, counting, launch, wait
from tests.accelerator.patches import devices_of_groups, no_grad_for_inference_mode, streams

CUDA = torch.device("cuda", 0)


class PretendTensor(Tensor):
    """A tensor on the pretended GPU; `held` is its data on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "PretendTensor":
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def __repr__(self, **options: Any) -> str:
        return f"PretendTensor({self.held!r})"

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it to host memory first.")

    def __array__(self, *options: Any, **more: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        wait("tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        _check_devices(func, name, args, kwargs)
        _count_copy(name, args)
        count_operation(name, args)
        kwargs.pop("device", None)  # torch's own code, below the function mode, names the device of the wrapped data
        if kwargs.get("pin_memory"):
            kwargs.pop("pin_memory")
        out = func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
        if name.endswith("_") and not name.endswith("__") and isinstance(args[0], PretendTensor):
            return args[0]
        if isinstance(kwargs.get("out"), PretendTensor):
            return kwargs["out"]
        return tree_map(_wrap, out)


class PretendedGpu(TorchFunctionMode):
    """Sends to the pretended GPU what names a cuda device, and back to the host what asks for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func in (Tensor.cpu, Tensor.cuda, Tensor.to, Tensor.type_as) or name == "to":
            return self._moved(func, args, kwargs)
        if func == Tensor.data.__set__ and isinstance(args[0], PretendTensor) and isinstance(args[1], PretendTensor):
            func(*args)  # of the wrapper: shape and strides
            args[0].held = args[1].held
            return None
        if func is Tensor.pin_memory:
            return _pinned(args[0])
        if func is Tensor.is_pinned:
            return getattr(args[0], "pinned", False)
        if func is Tensor.record_stream:
            return None
        if _is_cuda(kwargs.get("device")) and not any(isinstance(leaf, PretendTensor) for leaf in tree_leaves((args, kwargs))):
            kwargs["device"] = "cpu"
            if func is torch.tensor or func is torch.as_tensor:  # from values on the host
                copied_to_device(pinned=False)
            else:
                launch(name)
            learns = bool(kwargs.pop("requires_grad", False))
            return _wrap(func(*args, **kwargs)).requires_grad_(learns)
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = None
        return func(*args, **kwargs)

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """`Tensor.to`, `cuda` and `cpu`: the copy between the devices, if any, then the change of dtype or layout."""
        tensor, target, dtype = args[0], kwargs.get("device"), kwargs.get("dtype")
        if func in (Tensor.cpu, Tensor.cuda):
            target = "cpu" if func is Tensor.cpu else "cuda"
        for value in args[1:]:
            if isinstance(value, Tensor):
                target, dtype = value.device, value.dtype
            elif isinstance(value, (torch.device, str)):
                target = value
            elif isinstance(value, torch.dtype):
                dtype = value
        non_blocking = bool(kwargs.get("non_blocking")) or any(value is True for value in args[1:])
        if target is not None and _is_cuda(target) != isinstance(tensor, PretendTensor):
            if _is_cuda(target):
                copied_to_device(pinned=getattr(tensor, "pinned", False) and non_blocking)
                tensor = _ToDevice.apply(tensor)
            else:
                copied_to_host()
                tensor = _ToHost.apply(tensor)
        changes = {"dtype": dtype, "memory_format": kwargs.get("memory_format"), "copy": kwargs.get("copy")}
        changes = {name: value for name, value in changes.items() if value}
        return Tensor.to(tensor, **changes) if changes else tensor


class _ToDevice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return PretendTensor(tensor.detach().clone(memory_format=torch.preserve_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.held if isinstance(gradient, PretendTensor) else gradient


class _ToHost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: PretendTensor) -> Tensor:
        return tensor.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return PretendTensor(gradient)


@contextmanager
def pretended_gpu() -> Iterator[Counts]:
    """Pretend that there is a GPU within the block; yields the counts of what it was asked to do."""
    groups = devices_of_groups(CUDA, is_there=lambda tensor: isinstance(tensor, PretendTensor))
    with counting() as counts, PretendedGpu(), no_grad_for_inference_mode(), groups, streams():
        yield counts


def on_gpu(module: nn.Module) -> nn.Module:
    """Move a module's parameters and buffers to the pretended GPU, in place, without counting it; returns the module."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not isinstance(parameter, PretendTensor):
                part._parameters[name] = nn.Parameter(PretendTensor(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, PretendTensor):
                part._buffers[name] = PretendTensor(buffer)
    return module


def _check_devices(func: Any, name: str, args: Any, kwargs: Any) -> None:
    """Refuse operands on two devices, as CUDA does; scalars and indices may lie on the host."""
    if name in ("copy_", "_to_copy"):
        return
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    strangers = [tensor for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.ndim]
    if strangers and name in ("index", "index_put", "index_put_"):
        copied_to_device(pinned=False)
    elif strangers:
        shapes = [tuple(tensor.shape) for tensor in strangers]
        problem = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
        raise RuntimeError(f"{problem} {func}: {shapes}")


def _count_copy(name: str, args: Any) -> None:
    if name == "copy_":
        target, source = args[0], args[1]
        if not isinstance(source, PretendTensor):
            copied_to_device(pinned=getattr(source, "pinned", False))
        elif not isinstance(target, PretendTensor):
            copied_to_host()


def _is_cuda(device: Any) -> bool:
    return device is not None and not isinstance(device, int) and torch.device(device).type == "cuda"


def _pinned(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    copy.pinned = True  # type: ignore[attr-defined]
    return copy


def _unwrap(value: Any) -> Any:
    return value.held if isinstance(value, PretendTensor) else value


def _wrap(value: Any) -> Any:
    return PretendTensor(value) if isinstance(value, Tensor) and not isinstance(value, PretendTensor) else value
