"""Apply all rules to a program, and count its operations and bytes."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from encoders.export.device_lint.graph import Graph
from encoders.export.device_lint.liveness import activations
from encoders.export.device_lint.rules import RULES, Rule
from encoders.export.mil.blobs import Blob
from encoders.export.mil.guards import input_errors
from encoders.export.mil.program import Program

MAX_EXAMPLES = 3
SAYS = (
    "These numbers come from the saved program: how many operations each published rule names, and how many bytes the declared "
    "types need if every operation writes a new tensor. Nothing was run. Core ML fuses operations, reuses memory and chooses "
    "where to run each one, so these numbers do not say where an operation runs, how long it takes, or why a model runs out of "
    "memory on a phone."
)


@dataclass(frozen=True)
class Finding:
    """The operations that one rule names.

    Attributes:
        operations: type -> number of operations of that type.
        examples: names of the first few operations.
    """

    rule: Rule
    operations: dict[str, int]
    examples: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of operations named."""
        return sum(self.operations.values())

    def json(self) -> dict[str, Any]:
        """Return the finding as JSON types."""
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
    """The findings and counts of one program.

    Attributes:
        name: name of the model.
        opset: the operation set, e.g. "CoreML7".
        operations: type -> number of operations, largest first; constants and operations that unpack them are not counted.
        findings: those of the rules that name at least one operation, in the order of `RULES`.
        named_as_leaving: number of operations that at least one rule of effect `leaves` names.
        parameter_bytes: size of the tensors in the weights files, as stored.
        peak_bytes: see `liveness.Activations`.
        peak_at: type of the operation where the peak occurs, with the type of its result; empty if the inputs are the peak.
        written_bytes: see `liveness.Activations`.
        unknown_sizes: whether some sizes are known only at run time; these count as 1.
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
        """Number of operations."""
        return sum(self.operations.values())

    def json(self) -> dict[str, Any]:
        """Return the report as JSON types."""
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
    """Return the report on a program.

    Args:
        name: name of the model in the report.

    Raises:
        InputError: the program is damaged.
    """
    with input_errors(program.name):
        return _lint(program, name=name)


def _lint(program: Program, *, name: str) -> LintReport:
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
    blobs = {one.source for one in program.constants.values() if isinstance(one.source, Blob)}
    return LintReport(
        name=name,
        opset=program.opset,
        operations=dict(Counter(operation.type for operation in program.computing).most_common()),
        findings=findings,
        named_as_leaving=len(leaving),
        parameter_bytes=sum(blob.bytes for blob in blobs),
        peak_bytes=counted.peak,
        peak_at=peak_at,
        written_bytes=counted.written,
        unknown_sizes=counted.unknown_sizes,
    )
