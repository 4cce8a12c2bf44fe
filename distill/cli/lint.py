"""The command that inspects a model's Core ML operations for phones: lint-device."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from distill.cli.export import open_subject
from distill.cli.options import JsonOption
from encoders.errors import InputError

MEGABYTE = 1e6
SHOWN_TYPES = 12


def lint_device(
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Run folder, weights, or name. Repeatable.")] = None,
    untrained: Annotated[
        list[str] | None, typer.Option(help="Architecture to check with random weights. Repeatable.")
    ] = None,
    package: Annotated[list[Path] | None, typer.Option(help="A saved .mlpackage. Repeatable.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size in pixels, where a model allows another.")] = None,
    part: Annotated[str, typer.Option(help="encoder, or decoder (for one box).")] = "encoder",
    json_: JsonOption = False,
) -> None:
    """Count a model's Core ML operations and bytes, and report what published rules say about the Neural Engine.

    Runs without an Apple machine, and so cannot tell where operations run, how long they take or how much memory a phone needs.

    Example: repvit-sam lint-device --untrained repvit_m0_9 --untrained tiny_vit --image-size 1024
    """
    from encoders.export.device_lint import SAYS
    from encoders.export.device_lint.convert import lint_model, lint_package

    reports = [lint_package(path) for path in package or ()]
    asked = [(name, None) for name in model or ()] + [(None, name) for name in untrained or ()]
    for trained, fresh in asked:
        sam, name, _ = open_subject(model=trained, untrained=fresh, arch=arch, image_size=image_size)
        label = f"{name} {sam.image_size} px" if part == "encoder" else f"{name} {sam.image_size} px, {part}"
        reports.append(lint_model(sam, name=label, part=part))
    if not reports:
        raise InputError("no model given; give --model, --untrained or --package, see repvit-sam lint-device --help")
    if json_:
        print(json.dumps({"says": SAYS, "models": [report.json() for report in reports]}))
    else:
        _print(reports, says=SAYS)


def _print(reports: list[Any], *, says: str) -> None:
    console = Console()
    for title, rows in (
        ("Operations", operation_rows(reports)),
        ("Bytes", byte_rows(reports)),
        ("Operations that a rule names", finding_rows(reports)),
    ):
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for report in reports:
            table.add_column(report.name, justify="right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    rules = {finding.rule.name: finding.rule for report in reports for finding in report.findings}
    for rule in rules.values():
        console.print(f"{rule.name} ({rule.effect}): {rule.sentence}", highlight=False)
        console.print(f"  {rule.source.name}: {rule.source.standing}", highlight=False)
    console.print(says, highlight=False)


def operation_rows(reports: list[Any]) -> list[list[str]]:
    """Return operation counts by type, most frequent first, with rare types summed."""
    most: dict[str, int] = {}
    for report in reports:
        for kind, count in report.operations.items():
            most[kind] = max(most.get(kind, 0), count)
    kinds = sorted(most, key=lambda kind: -most[kind])
    shown, rest = kinds[:SHOWN_TYPES], kinds[SHOWN_TYPES:]
    rows = [["all", *(str(report.total) for report in reports)]]
    rows += [[kind, *(_count(report.operations.get(kind, 0)) for report in reports)] for kind in shown]
    if rest:
        sums = [sum(report.operations.get(kind, 0) for kind in rest) for report in reports]
        rows.append([f"{len(rest)} other types", *(_count(total) for total in sums)])
    return rows


def byte_rows(reports: list[Any]) -> list[list[str]]:
    """Return parameters and activations in MB, and the position of the activation peak."""
    return [
        ["parameters, MB", *(_megabytes(report.parameter_bytes) for report in reports)],
        ["activations at their peak, MB", *(_megabytes(report.peak_bytes) for report in reports)],
        ["at", *(report.peak_at for report in reports)],
        ["activations written, MB", *(_megabytes(report.written_bytes) for report in reports)],
        *([["sizes not known, counted as 1", *("yes" if report.unknown_sizes else "–" for report in reports)]]
          if any(report.unknown_sizes for report in reports) else []),
    ]  # fmt: skip


def finding_rows(reports: list[Any]) -> list[list[str]]:
    """Return the number of operations that each rule names, and the total for rules of effect `leaves`."""
    rules = {finding.rule.name: finding.rule for report in reports for finding in report.findings}
    counts = [{finding.rule.name: finding.count for finding in report.findings} for report in reports]
    rows = [["leaves, by any rule", *(_count(report.named_as_leaving) for report in reports)]]
    ordered = sorted(rules.values(), key=lambda rule: rule.effect != "leaves")
    return rows + [[f"{one.effect}: {one.name}", *(_count(found.get(one.name, 0)) for found in counts)] for one in ordered]


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.1f}" if count >= MEGABYTE else f"{count / MEGABYTE:.3f}"


def _count(count: int) -> str:
    return str(count) if count else "–"


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("lint-device")(lint_device)
