"""Helpers for decoders that take one prompt per call with a limited number of points."""

from collections.abc import Callable, Sequence

import numpy as np

from encoders.errors import InputError


def check_points(points: int, *, fewest: int, most: int) -> None:
    """Check that a decoder takes this number of points per prompt.

    Raises:
        InputError: it takes more or fewer; the message gives the permitted numbers.
    """
    if not fewest <= points <= most:
        raise InputError(
            f"this exported decoder takes {fewest} to {most} points a prompt, got {points}; a box counts two, and a prompt "
            "without a box ends with a padding point"
        )


def decode_one_by_one(
    ask: Callable[[np.ndarray, np.ndarray, np.ndarray], Sequence[np.ndarray]],
    embedding: np.ndarray,
    coords: np.ndarray,
    labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Implement `Runtime.decode`, without masks, with a decoder that takes one prompt.

    Args:
        ask: embedding, (1, N, 2) float32, (1, N) float32 -> logits (1, 4, S/4, S/4) and predicted IoU (1, 4).
    """
    coords, kinds = np.asarray(coords, np.float32), np.asarray(labels, np.float32)
    found = [ask(embedding, coords[i : i + 1], kinds[i : i + 1]) for i in range(len(coords))]
    logits, scores = (np.concatenate(values) for values in zip(*found, strict=True))
    return logits, scores
