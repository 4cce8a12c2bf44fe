"""Bytes of activations while a program runs in its own order; each operation writes a new tensor, nothing is fused."""

from dataclasses import dataclass

from encoders.export.mil.program import Operation, Program


@dataclass(frozen=True)
class Activations:
    """In bytes, by the declared types.

    Attributes:
        peak: the most that is alive at once: what an operation reads and writes, and what a later one still reads.
        at: where.
        written: by all operations together.
        unknown_sizes: whether a size is known only when it runs, and counted as 1.
    """

    peak: int
    at: Operation | None
    written: int
    unknown_sizes: bool


def activations(program: Program) -> Activations:
    """Count them. Inputs are alive from the start to their last use, outputs to the end."""
    last: dict[str, int] = {}
    operations = program.computing
    for place, operation in enumerate(operations):
        last.update({name: place for names in operation.inputs.values() for name in names})
        last.update({variable.name: max(place, last.get(variable.name, 0)) for variable in operation.outputs})
    last.update({name: len(operations) for name in program.outputs})
    alive = {entry.name: entry.type.bytes for entry in program.inputs}
    peak, at, written = sum(alive.values()), None, 0
    for place, operation in enumerate(operations):
        made = {variable.name: variable.type.bytes for variable in operation.outputs}
        written += sum(made.values())
        alive.update(made)
        if sum(alive.values()) > peak:
            peak, at = sum(alive.values()), operation
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > place}
    types = [variable.type for operation in operations for variable in operation.outputs]
    return Activations(peak=peak, at=at, written=written, unknown_sizes=not all(one.static for one in types))
