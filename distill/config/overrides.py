"""`--set key.sub=value`: changes to the settings of a config file, before they are checked."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from encoders.errors import InputError
from encoders.untrusted import parse_yaml

MAX_DEPTH = 10  # sections around a setting
MAX_SHOWN = 80  # characters of an override in a message


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one key, in place; sections that are missing are made, entries of a list are numbered from 0.

    Sections are copied on the way: one that a YAML alias puts in two places is changed in one of them only.

    Args:
        content: the settings of a config file.
        override: `key.sub=value`, the value in YAML.

    Raises:
        InputError: it is not `key=value`, the value is not YAML, or part of the key names a value without keys.
    """
    shown = f"--set {override[:MAX_SHOWN]!r}"
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"{shown}: expected key=value, e.g. --set optim.lr=1e-3")
    try:
        value = _number(parse_yaml(text, name=f"{text[:MAX_SHOWN]!r}"))
    except InputError as error:
        raise InputError(f"{shown}: {error}; quote it, or correct it") from error
    *parents, last = key.split(".")
    if len(parents) > MAX_DEPTH:
        raise InputError(f"{shown}: no such key; no setting lies {len(parents)} sections deep")
    section: Any = content
    try:
        for name in parents:
            place: Any = int(name) if isinstance(section, list) else name
            below = section[place] if isinstance(section, list) else section.get(place)
            section[place] = list(below) if isinstance(below, list) else dict(below) if isinstance(below, dict) else {}
            section = section[place]
        section[int(last) if isinstance(section, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{shown}: no such key; entries of a list are numbered from 0") from error


def sets_key(overrides: Sequence[str], key: str) -> bool:
    """Return whether one of the overrides sets exactly this key."""
    return any(override.partition("=")[0] == key for override in overrides)


def numbers_not_finite(content: Any, prefix: str = "") -> Iterator[str]:
    """Return the keys of settings that are NaN or infinite; entries of a list are numbered from 0."""
    if isinstance(content, float) and not math.isfinite(content):
        yield prefix
    entries = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    for name, value in entries:
        yield from numbers_not_finite(value, f"{prefix}.{name}".lstrip("."))


def _number(value: Any) -> Any:
    """Convert numbers such as 1e-3, which YAML 1.1 reads as strings."""
    exponent = isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value)
    return float(value) if exponent else value
