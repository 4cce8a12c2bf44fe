"""Strict comparison of a file's tensors with a model's state."""

from collections.abc import Mapping, Sequence

from encoders.errors import InputError
from encoders.weights.checks import short
from encoders.weights.keymaps.identify import Shapes, identify

_SHOWN = 3  # names of each kind in a message


def check_state(found: Shapes, expected: Shapes, *, name: str, wanted: str) -> None:
    """Raise InputError unless both have the same names and shapes.

    Args:
        found: key -> shape of the file.
        expected: key -> shape that the model needs, in the file's own naming.
        name: of the file, for the message.
        wanted: what the file should be, for the message.
    """
    unexpected = [key for key in found if key not in expected]
    missing = [key for key in expected if key not in found]
    differing = [
        f"{key} is {tuple(found[key])}, expected {tuple(shape)}"
        for key, shape in expected.items()
        if key in found and tuple(found[key]) != tuple(shape)
    ]
    if not (unexpected or missing or differing):
        return
    facts = [
        _first("unexpected", unexpected),
        _first("missing", missing),
        _first("of another shape", differing),
    ]
    raise InputError(f"{name} does not fit {wanted}: {'; '.join(fact for fact in facts if fact)}. {_advice(found)}")


def _first(kind: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > _SHOWN else ""
    return f"{len(keys)} {kind} ({', '.join(map(short, keys[:_SHOWN]))}{more})"


def _advice(found: Mapping[str, Sequence[int]]) -> str:
    looks = identify(found)
    if looks is None:
        return "It looks like no model known here"
    if looks.arch is None:
        return f"It looks like {looks.text}"
    return f"It looks like {looks.text}; try arch={looks.arch!r}" if looks.loadable else f"It looks like {looks.text}"
