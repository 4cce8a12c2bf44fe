"""Activation memory of a program that runs in its own order, writes a new tensor in each operation and fuses nothing."""

from dataclasses import dataclass

from encoders.export.mil.program import Operation, Program


@dataclass(frozen=True)
class Activations:
    """Activation memory in bytes, according to the declared types.

    Attributes:
        peak: the largest total that is alive at once: what an operation reads and writes, and what later ones still read.
        at: the operation where the peak occurs; None if the inputs alone are the peak.
        written: total written by all operations.
        unknown_sizes: whether some sizes are known only at run time; these count as 1.
    """

    peak: int
    at: Operation | None
    written: int
    unknown_sizes: bool


def activations(program: Program) -> Activations:
    """Compute peak and total activation bytes. Inputs are alive from the start to their last use, outputs to the end."""
    last: dict[str, int] = {}
    operations = program.computing
    for place, operation in enumerate(operations):
        last.update(dict.fromkeys(operation.arguments, place))
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
