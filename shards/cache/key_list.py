"""Keys in little memory: SA-1B's eleven million take 0.8 GB as Python strings, in every process, and a tenth of that here."""

import os
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np


class KeyList(Sequence[str]):
    """An unchangeable sequence of strings that compares and hashes like the tuple of them.

    The text lies in arrays, what Python counts references in lies apart from it: processes forked from this one go through the
    keys without copying them.

    Args:
        keys: the strings; UTF-8 must be able to hold them.
    """

    __slots__ = ("_ends", "_prefix", "_text")

    def __init__(self, keys: Sequence[str]) -> None:
        self._prefix = os.path.commonprefix([min(keys), max(keys)]) if keys else ""
        start = len(self._prefix)
        rests = [key[start:] for key in keys]
        text = "".join(rests).encode()
        lengths = list(map(len, rests) if len(text) == sum(map(len, rests)) else (len(rest.encode()) for rest in rests))
        self._text = np.frombuffer(text, np.uint8).copy()  # bytes would have their reference count beside the text
        self._ends = np.cumsum(lengths, dtype=np.int64).astype(np.min_scalar_type(len(text)))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[str, ...]: ...
    def __getitem__(self, number: int | slice) -> str | tuple[str, ...]:
        if isinstance(number, slice):
            return tuple(self)[number]
        number = range(len(self))[number]
        start = int(self._ends[number - 1]) if number else 0
        return self._prefix + self._text[start : int(self._ends[number])].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        text, prefix, start = self._text.tobytes(), self._prefix, 0
        for end in self._ends.tolist():
            yield prefix + text[start:end].decode()
            start = end

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, KeyList | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return int(self._text.nbytes + self._ends.nbytes)
