"""Damage to files, and what a reader makes of it: refused, harmless, altered without a word, or a failure of its own."""

import json
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from tests.encoders.weights_damage import mutated

LIMIT_SECONDS = 10
STRANGE = [None, True, -1, 0, 1e308, 2**70, "", "/abs/x", "../x", "\u2028", "x" * 300, [], {}, [[]], {"a": 1}]

Read = Callable[[], Any]


@dataclass
class Outcome:
    """What came of the mutations of one kind of file.

    Attributes:
        counts: "refused", "harmless" (what is read is as before) and "altered".
        failures: mutations that ended in another exception than InputError, or took too long, each with its reason.
        altered: first few descriptions of what was read otherwise without a word.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of mutations."""
        return sum(self.counts.values()) + len(self.failures)


def inject(path: Path, read: Read, *, count: int, seed: int, structured: bool = False, head: int = 256) -> Outcome:
    """Damage a file again and again, and read what it belongs to each time; the file is as before in the end.

    Args:
        read: returns what is used of it, to be compared by `==`.
        structured: half of the mutations change a value of a line of JSON, which stays JSON.
    """
    original = path.read_bytes()
    expected = read()
    found = Outcome()
    rng = np.random.default_rng(seed)
    try:
        for number in range(count):
            changed = mutated_json(original, rng) if structured and number % 2 else mutated(original, rng, head=head)
            if changed == original:
                continue
            path.write_bytes(changed)
            _try(read, expected, found, name=f"{path.name} {number}")
    finally:
        path.write_bytes(original)
    return found


def _try(read: Read, expected: Any, found: Outcome, *, name: str) -> None:
    try:
        with warnings.catch_warnings(), within(LIMIT_SECONDS):
            warnings.simplefilter("ignore")
            result = read()
    except InputError as error:
        if not str(error):
            found.failures.append(f"{name}: an error without a message")
        found.counts["refused"] += 1
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found.failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
    else:
        same = result == expected
        found.counts["harmless" if same else "altered"] += 1
        if not same and len(found.altered) < 5:
            found.altered.append(name)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block once it has taken so long."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutated_json(content: bytes, rng: np.random.Generator) -> bytes:
    """JSON lines with one value of one line replaced, removed or renamed; it stays JSON."""
    lines = content.split(b"\n")
    number = int(rng.choice([number for number, line in enumerate(lines) if line.strip()]))
    try:
        value = json.loads(lines[number])
    except ValueError:  # JSON over several lines
        lines, number, value = [content], 0, json.loads(content)
    places = list(_places(value))
    parent, key = places[int(rng.integers(len(places)))] if places else (None, None)
    if parent is None:
        value = STRANGE[int(rng.integers(len(STRANGE)))]
    elif rng.integers(8) == 0:
        parent.pop(key)
    elif isinstance(parent, dict) and rng.integers(8) == 0:
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = _otherwise(parent[key], rng)
    lines[number] = json.dumps(value).encode()
    return b"\n".join(lines)


def _otherwise(value: Any, rng: np.random.Generator) -> Any:
    """A value of another kind, or near the one there was."""
    if rng.integers(2):
        return STRANGE[int(rng.integers(len(STRANGE)))]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value + 1
    return f"{value}0" if isinstance(value, str) else None


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])
