"""The lint of one program."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from encoders.export.device_lint.graph import Graph
from encoders.export.device_lint.liveness import activations
from encoders.export.device_lint.rules import RULES, Rule
from encoders.export.mil.blobs import Blob
from encoders.export.mil.program import Program

MAX_EXAMPLES = 3
SAYS = (
    "Read off the saved program: which operations published rules name, and the bytes that its declared types add up to when "
    "each operation writes a new tensor. Nothing was run. Core ML fuses operations, reuses memory and places operations as it "
    "sees fit; these numbers do not say where an operation runs, how long it takes, or why a model runs out of memory on a "
    "phone."
)


@dataclass(frozen=True)
class Finding:
    """What one rule names.

    Attributes:
        operations: type -> how many.
        examples: names of the first few.
    """

    rule: Rule
    operations: dict[str, int]
    examples: tuple[str, ...]

    @property
    def count(self) -> int:
        """Of operations."""
        return sum(self.operations.values())

    def json(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "rule": self.rule.name,
            "effect": self.rule.effect,
            "count": self.count,
            "operations": self.operations,
            "examples": list(self.examples),
            "says": self.rule.sentence,
            "source": self.rule.source.name,
            "url": self.rule.source.url,
            "standing": self.rule.source.standing,
        }


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """Counts of one program.

    Attributes:
        operations: type -> how many, most first; without constants and what unpacks them.
        findings: of the rules that name something, in the table's order.
        named_as_leaving: operations that at least one rule of effect `leaves` names.
        parameter_bytes: of the weights file, as stored.
        peak_bytes, written_bytes: see `liveness.Activations`; peak_at is the operation, with the type of its result.
        unknown_sizes: whether some sizes are known only when it runs, and counted as 1.
    """

    name: str
    opset: str
    operations: dict[str, int]
    findings: tuple[Finding, ...]
    named_as_leaving: int
    parameter_bytes: int
    peak_bytes: int
    peak_at: str
    written_bytes: int
    unknown_sizes: bool

    @property
    def total(self) -> int:
        """Of operations."""
        return sum(self.operations.values())

    def json(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "model": self.name,
            "opset": self.opset,
            "total_operations": self.total,
            "operations": self.operations,
            "named_as_leaving": self.named_as_leaving,
            "findings": [finding.json() for finding in self.findings],
            "parameter_bytes": self.parameter_bytes,
            "peak_activation_bytes": self.peak_bytes,
            "peak_at": self.peak_at,
            "written_activation_bytes": self.written_bytes,
            "unknown_sizes": self.unknown_sizes,
        }


def lint_program(program: Program, *, name: str) -> LintReport:
    """Count a program's operations and bytes, and ask every rule."""
    graph = Graph(program)
    named: dict[str, list[int]] = {
        rule.name: [place for place, operation in enumerate(program.computing) if rule.applies(operation, graph)]
        for rule in RULES
    }
    findings = tuple(
        Finding(
            rule,
            dict(Counter(program.computing[place].type for place in named[rule.name]).most_common()),
            tuple(program.computing[place].name for place in named[rule.name][:MAX_EXAMPLES]),
        )
        for rule in RULES
        if named[rule.name]
    )
    leaving = {place for rule in RULES if rule.effect == "leaves" for place in named[rule.name]}
    counted = activations(program)
    peak_at = "" if counted.at is None else f"{counted.at.type} -> {counted.at.outputs[0].type}"
    blobs = {one.source.offset: one.source.bytes for one in program.constants.values() if isinstance(one.source, Blob)}
    return LintReport(
        name=name,
        opset=program.opset,
        operations=dict(Counter(operation.type for operation in program.computing).most_common()),
        findings=findings,
        named_as_leaving=len(leaving),
        parameter_bytes=sum(blobs.values()),
        peak_bytes=counted.peak,
        peak_at=peak_at,
        written_bytes=counted.written,
        unknown_sizes=counted.unknown_sizes,
    )
