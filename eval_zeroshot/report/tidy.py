"""Every number on a line of its own, with all that is needed to read it: for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from encoders.messages.shown import shown, spreadsheet_cell
from eval_zeroshot.report.columns import Group
from eval_zeroshot.report.papers import published_fractions
from eval_zeroshot.report.published import PublishedGroup
from eval_zeroshot.results.result import Estimate, Result

MEASURED = "measured"  # the source of a number that is not from a paper
FIELDS = (
    "source", "citation", "dataset", "suite", "version", "protocol",
    "model", "role", "arch", "image_size", "padding", "model_sha256",
    "metric", "unit", "direction", "value", "n", "standard_error", "low", "high", "against", "images", "detector", "seed",
)  # fmt: skip


def tidy_csv(groups: Iterable[Group], published: Iterable[PublishedGroup]) -> str:
    """CSV with a header; nothing is rounded, what is not known is empty.

    `metric` is "value" for a suite's own number, the name of a size or of a further number else; `against` is the other
    model of "agreement" and of "difference"; `padding` is False where photos were encoded without. All numbers are fractions,
    published ones too. Text that a spreadsheet would take for a formula has an apostrophe before it, controls are
    written out as `shown` does; JSON has names as they are.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for result in group.results:
            writer.writerows(map(_inert, _measured(result)))
    writer.writerows(_inert(row.model_dump()) for row in published_fractions(published))
    return stream.getvalue()


def _measured(result: Result) -> Iterator[dict[str, Any]]:
    names = (
        "dataset", "suite", "version", "protocol", "model", "role", "arch", "image_size", "padding", "model_sha256",
        "direction",
    )  # fmt: skip
    shared = {name: getattr(result, name) for name in (*names, "images", "detector", "seed")}
    shared |= {"source": MEASURED, "unit": "fraction"}

    def line(metric: str, estimate: Estimate, against: str | None = None) -> dict[str, Any]:
        numbers = {name: getattr(estimate, name) for name in ("value", "n", "standard_error", "low", "high")}
        return shared | numbers | {"metric": metric, "against": against}

    yield line("value", result)
    for name, estimate in (result.breakdown | result.extra).items():
        yield line(name, estimate, result.reference if name == "agreement" else None)
    if result.difference is not None:
        yield line("difference", result.difference, result.against)


def _inert(row: dict[str, Any]) -> dict[str, Any]:
    """A row without formulas and without controls, of which a carriage return would end the line for some readers."""
    return {
        name: spreadsheet_cell(shown(value, keep="\n\t")) if isinstance(value, str) else value for name, value in row.items()
    }
