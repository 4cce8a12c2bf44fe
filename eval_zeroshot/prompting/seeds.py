"""Random numbers that belong to an object, so that every model gets the same prompts, in any order and after a restart."""

import hashlib

import numpy as np


def object_random(*parts: str | int, seed: int) -> np.random.Generator:
    """A generator that depends on a seed and on what names the draw alone: purpose, photo's key, annotation id."""
    name = "\x1f".join(str(part) for part in (seed, *parts))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))
