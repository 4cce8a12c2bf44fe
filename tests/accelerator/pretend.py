"""A pretended GPU: tensors that say `cuda`, hold their data on the CPU, and count what a GPU would have to do.

It finds what a GPU would refuse (operands on two devices, `.numpy()` of device memory) and what would make one wait (copies
to the host, reads of single values, results whose shape depends on data). It cannot say how long a kernel takes, nor test
kernels that exist only in CUDA.

A tensor on the pretended GPU is a wrapper subclass. Each operation arrives in `__torch_dispatch__`, below autograd, is
checked and counted there, and runs on the wrapped CPU tensors, so its results equal the CPU's. A function mode sends calls
that name a cuda device (`torch.zeros(..., device="cuda")`, `tensor.to(device)`) to it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)

# Operations that return metadata or a view: no kernel.
FREE = {
    "alias", "as_strided", "chunk", "detach", "diagonal", "expand", "expand_as", "lift_fresh", "narrow", "permute", "select",
    "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view",
    "view_as", "_unsafe_view", "_reshape_alias", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided",
}  # fmt: skip
# Operations whose result's value or shape the host must know before it can go on.
WAITING = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2",
    "unique_consecutive", "bincount", "histc", "repeat_interleave",
}  # fmt: skip


@dataclass
class Counts:
    """What the pretended GPU was asked to do.

    Attributes:
        kernels: launches, by the name of the operation.
        synchronisations: operations that the host waits for, by name.
        to_device: copies from the host, by whether they come from pinned memory.
        to_host: copies to the host.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    synchronisations: Counter[str] = field(default_factory=Counter)
    to_device: Counter[str] = field(default_factory=Counter)
    to_host: int = 0

    @property
    def launched(self) -> int:
        """Number of kernels."""
        return self.kernels.total()

    @property
    def waited(self) -> int:
        """Number of synchronisations, including copies to the host and copies from memory that is not pinned."""
        return self.synchronisations.total() + self.to_host + self.to_device["pageable"]


_counting: list[Counts] = []


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
        _wait("tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        _check_devices(func, name, args, kwargs)
        _count(name, args)
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
                _copied_to_device(pinned=False)
            else:
                _launch(name)
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
                _copied_to_device(pinned=getattr(tensor, "pinned", False) and non_blocking)
                tensor = _ToDevice.apply(tensor)
            else:
                _copied_to_host()
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
    counts = Counts()
    _counting.append(counts)
    try:
        with PretendedGpu(), _no_grad_for_inference_mode(), _devices_of_groups(), _streams():
            yield counts
    finally:
        _counting.pop()


@contextmanager
def _no_grad_for_inference_mode() -> Iterator[None]:
    """Make `torch.inference_mode` behave like `no_grad`: wrapper subclasses cannot be viewed in inference mode."""
    mode = torch.inference_mode
    kept = mode.__enter__, mode.__exit__

    def enter(self: Any) -> None:
        self.pretended = torch.no_grad()
        self.pretended.__enter__()

    def leave(self: Any, *error: Any) -> None:
        self.pretended.__exit__(*error)

    mode.__enter__, mode.__exit__ = enter, leave  # type: ignore[method-assign]
    try:
        yield
    finally:
        mode.__enter__, mode.__exit__ = kept  # type: ignore[method-assign]


@contextmanager
def _devices_of_groups() -> Iterator[None]:
    """Let optimizers group tensors by the device that they say; torch's own code looks below the wrapper."""
    kept = optimizer._group_tensors_by_device_and_dtype

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        found = kept(lists, with_indices)
        first = next((tensor for tensor in lists[0] if tensor is not None), None)
        return {(CUDA if isinstance(first, PretendTensor) else device, dtype): rest for (device, dtype), rest in found.items()}

    optimizer._group_tensors_by_device_and_dtype = grouped
    try:
        yield
    finally:
        optimizer._group_tensors_by_device_and_dtype = kept


class _Stream:
    """A stream and an event of it: everything launched has happened; a copy to the host was counted when it was asked for."""

    def record_event(self) -> "_Stream":
        return self

    def synchronize(self) -> None:
        pass


@contextmanager
def _streams() -> Iterator[None]:
    """Let `torch.cuda.current_stream` give a stream, also without a driver."""
    kept = torch.cuda.current_stream
    torch.cuda.current_stream = lambda device=None: _Stream()  # type: ignore[assignment, return-value]
    try:
        yield
    finally:
        torch.cuda.current_stream = kept


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
        _copied_to_device(pinned=False)
    elif strangers:
        shapes = [tuple(tensor.shape) for tensor in strangers]
        problem = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
        raise RuntimeError(f"{problem} {func}: {shapes}")


def _count(name: str, args: Any) -> None:
    if name in WAITING:
        _wait(name)
    if name == "copy_":
        target, source = args[0], args[1]
        if not isinstance(source, PretendTensor):
            _copied_to_device(pinned=getattr(source, "pinned", False))
        elif not isinstance(target, PretendTensor):
            _copied_to_host()
    if name in ("index", "index_put", "index_put_"):
        masks = [index for index in args[1] if isinstance(index, Tensor) and index.dtype == torch.bool]
        if masks and name == "index":
            _wait("index by a mask")
    if name not in FREE:
        _launch(name, _launches(name, args))


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


def _launch(name: str, count: int = 1) -> None:
    if _counting:
        _counting[-1].kernels[name] += count


def _launches(name: str, args: Any) -> int:
    """Return how many kernels an operation launches: several where it takes lists of tensors.

    Source of the limits: PyTorch, `aten/src/ATen/native/cuda/MultiTensorApply.cuh` (tensors a launch by the number of lists,
    320 blocks of 65,536 elements each) and `Shape.cu` (128 tensors a launch of `cat`).
    """
    lists = [value for value in args if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor)]
    if name in ("cat", "stack") and lists:
        return -(-len(lists[0]) // 128)
    if not name.startswith(("_foreach_", "_fused_")) or not lists:
        return 1
    tensors = lists[0]
    most = {1: 110, 2: 64, 3: 48, 4: 36}.get(len(lists), 30)
    blocks = sum(-(-tensor.numel() // 65536) for tensor in tensors)
    return max(-(-len(tensors) // most), -(-blocks // 320))


def _wait(name: str) -> None:
    if _counting:
        _counting[-1].synchronisations[name] += 1


def _copied_to_device(*, pinned: bool) -> None:
    if _counting:
        _counting[-1].to_device["pinned" if pinned else "pageable"] += 1


def _copied_to_host() -> None:
    if _counting:
        _counting[-1].to_host += 1
