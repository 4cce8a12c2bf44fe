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
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from shards.codec.base import Coded, Gate, Payload, array_from

# The 16 levels with the least squared error for a normal distribution of variance 1. Source: Max, "Quantizing for minimum
# distortion", IRE Transactions on Information Theory 6, 1960, table I; recomputed to float32.
HALF_LEVELS = (0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590)
LEVELS = np.asarray([*(-level for level in reversed(HALF_LEVELS)), *HALF_LEVELS], np.float32)
EDGES = (LEVELS[1:] + LEVELS[:-1]) / 2  # level k is the nearest one between edges k - 1 and k
CELLS, REACH = 256, 3  # lookup table of the nearest level, in cells of 1 / 256 between -3 and 3: 14 times faster
NEAREST = np.searchsorted(EDGES, (np.arange(2 * REACH * CELLS) + 0.5) / CELLS - REACH).astype(np.uint8)
LEVEL_OF_CELL = LEVELS[NEAREST]
PREDICTIONS = (0.0, 0.5, 0.7, 0.8, 0.9)  # candidate values of r, chosen per channel
SPREAD = 0.9  # step by the standard deviation of the differences before the closed loop; measured
# A step that reaches the largest difference is tried if it is smaller, or larger by more than 1.6, which a normal distribution
# hardly is; and always for few positions, of which a single one counts.
DOUBTFUL, FEW = 1.6, 1024
GAIN_STEPS, GAIN_ZERO, GAIN_MAX = 4, 32, 127  # gains per factor of two, the byte of gain 1, the largest byte


class Int4Codec:
    """Two codes a byte, predicted from the neighbours, 16 levels spaced for a normal distribution."""

    name = "int4"
    version = 1
    encoder = 2  # 2: predictions by correlations, of every other row
    gate = Gate(mask_iou=0.97, relative_mse=1e-2, instead="int8")

    def encode(self, embedding: np.ndarray) -> bytes:
        channels, rows, columns = embedding.shape
        peaks = np.maximum(embedding.max(axis=(1, 2), initial=0), -embedding.min(axis=(1, 2), initial=0))
        unit = np.where(peaks > np.finfo(np.float32).tiny, peaks, 1).astype(np.float32)  # avoids overflow when squaring
        values = _transposed(embedding.reshape(channels, -1)) / unit  # channels last: sums run over contiguous memory
        means = values.mean(axis=0)
        values = (values - means).reshape(rows, columns, channels)
        prediction = _predict(values)
        steps, gains = _spread(_differences(values, prediction), shape=(rows, columns))
        codes = _closed_loop(values, prediction=prediction, steps=steps, gains=_gain(gains))
        half = -(-channels // 2)
        packed = codes[:half]
        packed[: channels - half] |= codes[half:] << 4
        scales = np.stack([steps * unit, prediction, means * unit], axis=1).astype("<f4")
        return scales.tobytes() + packed.tobytes() + gains.tobytes()

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


def _predict(values: np.ndarray) -> np.ndarray:
    """Choose the r of each channel, (C,), with the smallest differences; `values` is (rows, columns, C) of mean 0.

    Their energy is a polynomial in r, whose coefficients are sums of products of neighbours. Every other row tells them well
    enough.
    """
    pairs = len(values) // 2
    above, rows = values[: 2 * pairs : 2], values[1 : 2 * pairs : 2]
    here, left, over, corner = rows[:, 1:], rows[:, :-1], above[:, 1:], above[:, :-1]
    r = np.asarray(PREDICTIONS, np.float32)[:, None]
    energy = (
        _products(here, here)
        - 2 * r * (_products(here, left) + _products(here, over))
        + r**2 * (_products(left, left) + _products(over, over) + 2 * (_products(here, corner) + _products(left, over)))
        - 2 * r**3 * (_products(left, corner) + _products(over, corner))
        + r**4 * _products(corner, corner)
    )
    return r[energy.argmin(axis=0), 0]


def _products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(rows, columns, C) twice -> the sum of their products of each channel."""
    return np.einsum("ijc,ijc->c", first, second)


def _differences(values: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(rows, columns, C) values -> their differences from the prediction by exact neighbours, (rows x columns, C)."""
    found = values.copy()
    predicted = values * prediction
    found[:, 1:] -= predicted[:, :-1]
    np.multiply(found, prediction, out=predicted)
    found[1:] -= predicted[:-1]
    return found.reshape(-1, values.shape[-1])


def _spread(differences: np.ndarray, *, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(P, C), changed in place -> step of each channel, (C,) float32, and gain byte of each position, `shape`."""
    count, channels = differences.shape
    squares = differences**2
    energy = squares.mean(axis=0)
    weights = np.where(energy > 0, 1 / np.where(energy > 0, energy, 1), 0) / channels
    relative = np.sqrt(np.einsum("pc,c->p", squares, weights))  # not by BLAS, whose threads would disturb the callers'
    gain = np.maximum(relative, 2.0 ** (-GAIN_ZERO / GAIN_STEPS))
    gains = np.rint(np.log2(gain) * GAIN_STEPS + GAIN_ZERO).clip(0, GAIN_MAX).astype(np.uint8)
    inverse = 1 / _gain(gains)
    usual = SPREAD * np.sqrt(np.einsum("p,pc->c", inverse**2, squares) / count)
    differences *= inverse[:, None]
    # Channels with a few large differences lose less if the levels reach the largest one.
    reaching = np.maximum(differences.max(axis=0), -differences.min(axis=0)) / LEVELS[-1]
    doubtful = np.flatnonzero((reaching < usual) | (reaching > DOUBTFUL * usual) | (count < FEW))
    if doubtful.size:
        some = differences[:, doubtful]
        wide = _error(some, reaching[doubtful]) < _error(some, usual[doubtful])
        usual[doubtful[wide]] = reaching[doubtful[wide]]
    return usual.astype(np.float32), gains.reshape(shape)


def _error(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(P, C) -> the squared error of each channel after rounding to the nearest level, (C,)."""
    units = values / np.where(steps > 0, steps, 1)
    units -= LEVEL_OF_CELL.take(_cells(units), mode="clip")
    return np.einsum("pc,pc->c", units, units) * steps**2


def _closed_loop(values: np.ndarray, *, prediction: np.ndarray, steps: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Encode each value's difference from its prediction by already decoded values.

    Iterates over the anti-diagonals, whose values depend only on the two diagonals before. Entry i of diagonal t is row i,
    column t - i.

    Args:
        values: (rows, columns, C).
        prediction, steps: (C,).
        gains: (rows, columns).

    Returns:
        (C, rows, columns) uint8.
    """
    rows, columns, channels = values.shape
    diagonals = rows + columns - 1
    units, codes = np.empty((diagonals, rows, channels), np.float32), np.empty((diagonals, rows, channels), np.uint8)
    np.divide(values, np.where(steps > 0, steps, 1), out=_straight(units, columns))
    scales = np.ones((diagonals, rows, 1), np.float32)
    _straight(scales, columns)[..., 0] = gains
    per_cell = CELLS / scales
    before, last, now = (np.zeros((rows + 1, channels), np.float32) for _ in range(3))  # row 0 lies above the image
    predictions, rest = np.empty((rows, channels), np.float32), np.empty((rows, channels), np.float32)
    numbers = np.empty((rows, channels), np.intp)
    for diagonal in range(diagonals):
        top, end = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        here, above, size = slice(top + 1, end + 1), slice(top, end), end - top
        predicted, cells, number = predictions[:size], rest[:size], numbers[:size]
        np.multiply(before[above], prediction, out=predicted)  # r (left + above - r before)
        np.subtract(last[above], predicted, out=predicted)
        predicted += last[here]
        predicted *= prediction
        np.subtract(units[diagonal, above], predicted, out=cells)
        cells *= per_cell[diagonal, above]
        cells += REACH * CELLS
        number[...] = cells
        NEAREST.take(number, out=codes[diagonal, above], mode="clip")
        LEVEL_OF_CELL.take(number, out=cells, mode="clip")
        cells *= scales[diagonal, above]
        np.add(predicted, cells, out=now[here])  # the rows below are still 0, those above are not read again
        before, last, now = last, now, before
    return _transposed(_straight(codes, columns).reshape(-1, channels)).reshape(channels, rows, columns)


def _transposed(matrix: np.ndarray) -> np.ndarray:
    """Return the transpose as contiguous memory; by torch, which copies in blocks."""
    return torch.from_numpy(matrix).t().contiguous().numpy()


def _straight(diagonals: np.ndarray, columns: int) -> np.ndarray:
    """(rows + columns - 1, rows, C) of anti-diagonals -> a view of (rows, columns, C)."""
    _, rows, channels = diagonals.shape
    diagonal, row, channel = diagonals.strides
    return as_strided(diagonals, (rows, columns, channels), (diagonal + row, diagonal, channel))


def _cells(values: np.ndarray) -> np.ndarray:
    """Return each value's cell of the lookup tables; beyond their ends for values beyond their reach."""
    return (values * CELLS + REACH * CELLS).astype(np.intp)


def _gain(gains: np.ndarray) -> np.ndarray:
    return np.exp2((gains.astype(np.float32) - GAIN_ZERO) / GAIN_STEPS)
