"""Run a convolutional network on a photo and one row that represents all of its padding.

In a padded frame, all rows of padding that neither the photo nor the frame's far edge influences through convolutions are
equal: they depend on the photo only through the global means of squeeze-and-excite. So the network runs on the photo's rows and
one such row, which comes last:

- a pointwise operation treats it like any other row;
- a convolution sees it below the photo's last row, and computes the row itself as if all rows around it were equal to it, with
  the kernel summed over its height;
- a squeeze-and-excite weights it by the number of rows of padding.

The result is not exact: it lacks the photo's influence on padding beyond the rows that are kept, and the influence of the
frame's far edge. Portraits are handled in the same way with columns in place of rows, see `Frame.axis`.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from timm.layers import SqueezeExcite
from timm.models.repvit import (
    ConvNorm,
    RepViTBlock,
    RepVitDownsample,
    RepVitMlp,
    RepVitStage,
    RepVitStem,
)
from torch import Tensor, nn

from encoders.errors import InputError
from encoders.image_encoders.neck import SamNeck
from encoders.image_encoders.repvit import RepVitEncoder, TokenMixer


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Position and size of the padding.

    Attributes:
        axis: 2 if the padding is below the photo, 3 if it is to the right of it.
        positions: side of the square embedding, S/16.
        more: number of rows of padding that are added, as copies of the last one, when stride 16 is reached. The layers
            before are few and expensive; those at stride 16 are many, and the photo influences padding far away.
    """

    axis: int
    positions: int
    more: int

    @property
    def other(self) -> int:
        """The axis along which the photo fills the frame."""
        return 5 - self.axis


Action = Callable[[Any, Tensor, Frame], Tensor]


def last_row(x: Tensor, *, axis: int) -> Tensor:
    """The last row (`axis` 2) or column (3), which is the padding, as a view of x."""
    return x.narrow(axis, x.shape[axis] - 1, 1)


def repeat_last_row(x: Tensor, *, axis: int, times: int) -> Tensor:
    """x with `times` further copies of its last row (`axis` 2) or column (3) at the end."""
    sizes = [-1] * x.dim()
    sizes[axis] = times
    return torch.cat([x, last_row(x, axis=axis).expand(sizes)], dim=axis)


def act(module: nn.Module, x: Tensor, frame: Frame) -> Tensor:
    """Apply a module, which is not changed, to a photo's rows and the row of padding.

    Args:
        x: (B, C, H, W); the row of padding is the last along `frame.axis`.

    Returns:
        The module's output in the same arrangement.

    Raises:
        InputError: the module or a part of it is of a type that is not supported, see `ACTIONS`.
    """
    return _action(module)(module, x, frame)


def check_known(module: nn.Module) -> None:
    """Check that `act` supports a module and all of its parts.

    Raises:
        InputError: the type or a setting of the module or of a part is not supported; the message names it.
    """
    parts = list(module.children()) if _action(module) in _WHOLES else []
    for part in parts:
        check_known(part)
    if isinstance(module, nn.Conv2d):
        supported = module.kernel_size in ((1, 1), (3, 3)) and _pads(module) == tuple(n // 2 for n in module.kernel_size)
        if not supported or module.padding_mode != "zeros" or module.dilation != (1, 1):
            raise InputError(
                "without padding, a convolution must be 1 x 1 or 3 x 3 with zero padding that keeps the size, and not dilated; "
                f"got {module}; leave padding on"
            )
    if isinstance(module, SqueezeExcite) and module.add_maxpool:
        raise InputError("without padding, squeeze-and-excite with add_maxpool is not supported; leave padding on")


def _pads(conv: nn.Conv2d) -> tuple[int, ...]:
    return tuple(-1 for _ in conv.kernel_size) if isinstance(conv.padding, str) else tuple(conv.padding)


def _action(module: nn.Module) -> Action:
    for kind in type(module).__mro__:
        if kind in ACTIONS:
            return ACTIONS[kind]
    known = ", ".join(sorted(kind.__name__ for kind in ACTIONS))
    raise InputError(
        f"{type(module).__name__} cannot run without padding; supported parts are {known}. "
        "Use a RepViT encoder, or leave padding on"
    )


def _pointwise(module: Any, x: Tensor, frame: Frame) -> Tensor:
    result: Tensor = module(x)
    return result


def _in_order(module: Any, x: Tensor, frame: Frame) -> Tensor:
    for part in module.children():
        x = act(part, x, frame)
    return x


def _convolution(conv: nn.Conv2d, x: Tensor, frame: Frame) -> Tensor:
    out: Tensor = conv(x)
    if conv.kernel_size != (1, 1):
        row = _convolved_row(conv, last_row(x, axis=frame.axis), axis=frame.axis)
        if torch.compiler.is_exporting() or torch.jit.is_tracing():  # exported graphs must not write in place
            out = torch.cat([out.narrow(frame.axis, 0, out.shape[frame.axis] - 1), row], dim=frame.axis)
        else:
            last_row(out, axis=frame.axis).copy_(row)
    if frame.more and x.shape[frame.other] > frame.positions == out.shape[frame.other]:
        out = repeat_last_row(out, axis=frame.axis, times=frame.more)
    return out


def _convolved_row(conv: nn.Conv2d, row: Tensor, *, axis: int) -> Tensor:
    """Apply a 3 x 3 convolution to a row, or column, as if its neighbours along `axis` were equal to it."""
    along = 5 - axis
    if conv.groups == conv.in_channels == conv.out_channels:  # torch's depthwise kernel is slower on one row than on the photo
        step, size = conv.stride[along - 2], row.shape[along]
        wide = F.pad(row, (1, 1, 0, 0) if along == 3 else (0, 0, 1, 1))
        kernel = conv.weight.sum(axis).view(1, -1, 1, 1, 3)
        taps = (wide[..., tap : tap + size : step] if along == 3 else wide[:, :, tap : tap + size : step] for tap in range(3))
        result: Tensor = reduce(operator.add, (values * kernel[..., tap] for tap, values in enumerate(taps)))
        return result if conv.bias is None else result + conv.bias.view(1, -1, 1, 1)
    sizes = [-1] * 4
    sizes[axis] = 3
    padding = (0, 1) if axis == 2 else (1, 0)
    return F.conv2d(row.expand(sizes), conv.weight, conv.bias, conv.stride, padding, 1, conv.groups)


def _depthwise(module: Any, x: Tensor, frame: Frame) -> Tensor:
    result: Tensor = module.bn(act(module.conv, x, frame) + act(module.conv1, x, frame) + x)
    return result


def _squeeze_excite(module: Any, x: Tensor, frame: Frame) -> Tensor:
    """Apply a `timm.layers.SqueezeExcite` with the mean over the whole padded frame."""
    side = x.shape[frame.other]
    unseen = side - x.shape[frame.axis]
    padding = last_row(x, axis=frame.axis).sum((2, 3), keepdim=True)
    mean = (x.sum((2, 3), keepdim=True) + unseen * padding) / side**2
    result: Tensor = x * module.gate(module.fc2(module.act(module.bn(module.fc1(mean)))))
    return result


def _block(module: Any, x: Tensor, frame: Frame) -> Tensor:
    x = act(module.se, act(module.token_mixer, x, frame), frame)
    return x + act(module.channel_mixer, x, frame)


def _downsample(module: Any, x: Tensor, frame: Frame) -> Tensor:
    x = act(module.spatial_downsample, act(module.pre_block, x, frame), frame)
    x = act(module.channel_downsample, x, frame)
    return x + act(module.ffn, x, frame)


_WHOLES: tuple[Action, ...] = (_in_order, _depthwise, _block, _downsample)  # `check_known` checks their parts

ACTIONS: dict[type[nn.Module], Action] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _pointwise,
    nn.GELU: _pointwise,
    nn.Identity: _pointwise,
    LayerNorm2d: _pointwise,
    nn.Sequential: _in_order,
    ConvNorm: _in_order,
    RepVitStem: _in_order,
    RepVitMlp: _in_order,
    RepVitStage: _in_order,
    SamNeck: _in_order,
    RepVitEncoder: _in_order,
    TokenMixer: _depthwise,
    RepViTBlock: _block,
    RepVitDownsample: _downsample,
    SqueezeExcite: _squeeze_excite,
}
