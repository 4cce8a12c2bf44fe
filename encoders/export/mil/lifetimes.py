"""Lifetimes of the values in a program."""

from collections.abc import Collection, Sequence

from encoders.export.mil.program import Operation


def last_uses(operations: Sequence[Operation], *, keep: Collection[str]) -> list[list[str]]:
    """Return, for each operation, the names that can be freed after it.

    These are its inputs and outputs that no later operation uses, results that are never used among them.

    Args:
        keep: names that are never freed.
    """
    last: dict[str, int] = {}
    for place, operation in enumerate(operations):
        last.update(dict.fromkeys(operation.arguments, place))
        last.update({variable.name: place for variable in operation.outputs})
    ends: list[list[str]] = [[] for _ in operations]
    for name, place in last.items():
        if name not in keep:
            ends[place].append(name)
    return ends
