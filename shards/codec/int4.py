"""Four-bit predictive codec: stores the difference of each value from a prediction by its upper and left neighbours.

Embeddings vary smoothly over the image, so the differences are several times smaller than the values, and 4 bits
represent them more exactly by the same factor (docs/log.md has the figures, and what else was tried). For a channel with
mean m, value x at row i and column j, and y = x - m:

    y[i, j] = r y[i-1, j] + r y[i, j-1] - r^2 y[i-1, j-1] + d[i, j]        with y = 0 outside
    d[i, j] = LEVELS[code] * step * gain[i, j]

`r`, `step` and `m` belong to the channel; `gain` to the position, for all channels: differences are large where the image
has an edge. The encoder predicts from decoded values, so errors do not add up. The decoder needs no loop over positions:
the recursion is 1 / (1 - r z) along rows and along columns, and 1 / (1 - r z) = (1 + r z) (1 + r^2 z^2) (1 + r^4 z^4) ...

Payload: (C, 3) float32 step, r, m; then ceil(C / 2) planes of rows x columns bytes, where plane p holds the codes of
channel p in the low and of channel p + ceil(C / 2) in the high four bits; then one plane of gains, 2^((byte - 32) / 4).
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from shards.codec.base import Coded, Gate, Payload, array_from

# The 16 levels with the least squared error for a normal distribution of variance 1. Source: Max, "Quantizing for minimum
# distortion", IRE Transactions on Information Theory 6, 1960, table I; recomputed to float32.
HALF_LEVELS = (0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590)
LEVELS = np.asarray([*(-level for level in reversed(HALF_LEVELS)), *HALF_LEVELS], np.float32)
EDGES = (LEVELS[1:] + LEVELS[:-1]) / 2  # level k is the nearest one between edges k - 1 and k
CELLS, REACH = 256, 3  # lookup table of the nearest level, in cells of 1 / 256 between -3 and 3: 14 times faster
NEAREST = np.searchsorted(EDGES, (np.arange(2 * REACH * CELLS) + 0.5) / CELLS - REACH).astype(np.uint8)
PREDICTIONS = (0.0, 0.5, 0.7, 0.8, 0.9)  # candidate values of r, chosen per channel
SPREAD = 0.9  # step by the standard deviation of the differences before the closed loop; measured
GAIN_STEPS, GAIN_ZERO, GAIN_MAX = 4, 32, 127  # gains per factor of two, the byte of gain 1, the largest byte


class Int4Codec:
    """Two codes a byte, predicted from the neighbours, 16 levels spaced for a normal distribution."""

    name = "int4"
    version = 1
    gate = Gate(mask_iou=0.97, relative_mse=1e-2, instead="int8")

    def encode(self, embedding: np.ndarray) -> bytes:
        peaks = np.abs(embedding).max(axis=(1, 2), keepdims=True, initial=0)
        unit = np.where(peaks > np.finfo(np.float32).tiny, peaks, 1).astype(np.float32)  # avoids overflow when squaring
        values = embedding / unit
        means = values.mean(axis=(1, 2), keepdims=True)
        values = values - means
        prediction, differences = _predict(values)
        steps, gains = _spread(differences)
        codes = _closed_loop(values, prediction=prediction, steps=steps, gains=_gain(gains))
        half = -(-len(codes) // 2)
        low, high = codes[:half], np.zeros_like(codes[:half])
        high[: len(codes) - half] = codes[half:]
        scales = np.stack([(steps * unit)[:, 0, 0], prediction, (means * unit)[:, 0, 0]], axis=1).astype("<f4")
        return scales.tobytes() + (low | high << 4).tobytes() + gains.tobytes()

    def parse(self, payload: Payload, shape: tuple[int, int, int]) -> Coded:
        channels, rows, columns = shape
        split = 4 * 3 * channels
        codes = array_from(payload[split:], "u1", (-(-channels // 2) + 1, rows, columns))
        return Coded(self.name, codes, array_from(payload[:split], "<f4", (channels, 3)))

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        packed, gains = codes[:, :-1], codes[:, -1:]
        numbers = torch.cat([packed & 15, packed >> 4], dim=1)[:, : scales.shape[1]]
        step, prediction, mean = (scales[:, :, number, None, None] for number in range(3))
        out = _levels_on(codes.device)[numbers.int()] * (step * torch.exp2((gains.float() - GAIN_ZERO) / GAIN_STEPS))
        for axis in (-1, -2):
            _accumulate(out, prediction, axis=axis)
        return out.add_(mean)


@cache
def _levels_on(device: torch.device) -> Tensor:
    """Return `LEVELS` on a device, copied there once."""
    with torch.inference_mode(False):  # so that it may be used outside inference mode too
        return torch.from_numpy(LEVELS).to(device)


def _accumulate(values: Tensor, factor: Tensor, *, axis: int) -> None:
    """Compute y[j] = x[j] + factor * y[j-1] along an axis, in place, in log2(length) steps."""
    length, reach = values.shape[axis], 1
    while reach < length:
        ahead = values.narrow(axis, reach, length - reach)
        ahead += factor * values.narrow(axis, 0, length - reach)  # the product is made before anything is added to it
        factor, reach = factor * factor, 2 * reach


def _predict(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose the r of each channel, (C,), with the smallest differences; return r and the differences (C, rows, columns)."""
    best = np.zeros(len(values), np.float32)
    differences = values.copy()
    energy = (values**2).sum(axis=(1, 2))
    for factor in PREDICTIONS[1:]:
        along = values.copy()
        along[:, :, 1:] -= np.float32(factor) * values[:, :, :-1]
        both = along.copy()
        both[:, 1:] -= np.float32(factor) * along[:, :-1]
        left = (both**2).sum(axis=(1, 2))
        better = left < energy
        best[better], energy[better], differences[better] = factor, left[better], both[better]
    return best, differences


def _spread(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, rows, columns) -> step of each channel, (C, 1, 1) float32, and gain byte of each position, (rows, columns)."""
    sizes = _root_mean_square(differences, axis=(1, 2))
    relative = differences / np.where(sizes > 0, sizes, 1)
    gain = np.maximum(_root_mean_square(relative, axis=0), 2.0 ** (-GAIN_ZERO / GAIN_STEPS))
    gains = np.rint(np.log2(gain) * GAIN_STEPS + GAIN_ZERO).clip(0, GAIN_MAX).astype(np.uint8)[0]
    scaled = differences / _gain(gains)
    usual = SPREAD * _root_mean_square(scaled, axis=(1, 2))
    # Channels with a few large differences lose less if the levels reach the largest one.
    reaching = np.abs(scaled).max(axis=(1, 2), keepdims=True) / LEVELS[-1]
    return np.where(_error(scaled, reaching) < _error(scaled, usual), reaching, usual).astype(np.float32), gains


def _error(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the squared error of each channel after rounding to the nearest level, (C, 1, 1)."""
    units = values / np.where(steps > 0, steps, 1)
    return ((units - LEVELS[_nearest(units)]) ** 2).sum(axis=(1, 2), keepdims=True) * steps**2


def _closed_loop(values: np.ndarray, *, prediction: np.ndarray, steps: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Encode each value's difference from its prediction by already decoded values; (C, rows, columns) uint8.

    Iterates over the anti-diagonals, whose values depend only on the two diagonals before. Entry i of diagonal t is row i,
    column t - i; channels come last, so that all arrays are contiguous.
    """
    channels, rows, columns = values.shape
    units = (values / np.where(steps > 0, steps, 1)).transpose(1, 2, 0)
    codes = np.zeros((rows, columns, channels), np.uint8)
    before, last = (np.zeros((rows + 1, channels), np.float32) for _ in range(2))  # row 0 lies above the image
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        column, here, above = diagonal - row, slice(row[0] + 1, row[-1] + 2), slice(row[0], row[-1] + 1)
        predicted = prediction * (last[here] + last[above]) - prediction**2 * before[above]
        gain = gains[row, column][:, None]
        number = _nearest((units[row, column] - predicted) / gain)
        codes[row, column] = number
        now = np.zeros_like(last)
        now[here] = predicted + LEVELS[number] * gain
        before, last = last, now
    return np.ascontiguousarray(codes.transpose(2, 0, 1))


def _nearest(values: np.ndarray) -> np.ndarray:
    """Return the index of the nearest level, uint8."""
    return NEAREST[(values * CELLS + REACH * CELLS).clip(0, len(NEAREST) - 1).astype(np.int16)]


def _gain(gains: np.ndarray) -> np.ndarray:
    return np.exp2((gains.astype(np.float32) - GAIN_ZERO) / GAIN_STEPS)


def _root_mean_square(values: np.ndarray, *, axis: int | tuple[int, ...]) -> np.ndarray:
    return np.sqrt((values**2).mean(axis=axis, keepdims=True))
