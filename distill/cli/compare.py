"""The command that shows results side by side: compare."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from distill.jobs.eval_inputs import data_name, has_own_photos
from distill.jobs.own_photos import open_own_photos
from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from encoders.files import atomic_path, check_output
from encoders.messages.shown import shown
from eval_zeroshot import compare as compare_results
from eval_zeroshot import open_dataset, read_results
from eval_zeroshot.datasets.opening import has_splits
from eval_zeroshot.report.page import write_page
from eval_zeroshot.report.photos import NamedPhotos
from eval_zeroshot.report.referenced import AnsweredPhotos, kept_answers
from eval_zeroshot.report.table import FORMATS
from eval_zeroshot.results.result import EXPECTED

CHOICES = ("terminal", *FORMATS)
WHOLE = ("csv", "json")  # formats for programs, which have every number


def compare(
    results: Annotated[list[Path], typer.Argument(help="Result files written by eval.")],
    format_: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(CHOICES)}.")] = "terminal",
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the tables, such as value,ece,click_3, or all (default: what fits into a terminal, "
            "all in other formats)."
        ),
    ] = None,
    published: Annotated[
        bool | None,
        typer.Option(help="Add published numbers in separate rows, with citation and protocol (default: only on the page)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML page with tables, curves and a gallery.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="The data that was evaluated, as in eval, for the page's gallery. Repeatable."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos (default: images/ beside the json).")] = None,
    split: Annotated[str | None, typer.Option(help="Split of BSDS500, DUTS or DAVIS (default: the usual one).")] = None,
    present_only: Annotated[bool, typer.Option("--present-only", help="Skip missing photos, as in eval.")] = False,
    gallery_of: Annotated[
        str | None, typer.Option(help="Model whose worst and median cases the gallery shows (default: the first student).")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Compare the results of several models in tables, or on an HTML page. All scores are fractions.

    Examples: repvit-sam compare results.jsonl --format markdown --out table.md

    repvit-sam compare results.jsonl --columns value,interval,ece

    repvit-sam compare results.jsonl --html report.html --data sample:val
    """
    if format_ not in CHOICES:
        raise InputError(f"--format {format_}: expected one of {', '.join(CHOICES)}")
    if data and html is None:
        raise InputError("--data is for the gallery of the page; give --html PAGE.html too")
    kind = "json" if json_ else format_
    if columns is not None and (kind in WHOLE or (html is not None and out is None)):
        what = kind if kind in WHOLE else "the page"
        raise InputError(f"--columns is for the tables of terminal, markdown and latex; {what} has all")
    for path in (out, html):
        if path is not None:
            check_output(path)
    found = [result for path in results for result in read_results(path)]
    if not found:
        raise InputError(f"{', '.join(map(str, results))}: no result in it; {EXPECTED}")
    if columns is not None and not columns.strip(", "):
        raise InputError(f"--columns {columns!r} names no column; give some, such as value,interval, or leave it out")
    chosen = [name.strip() for name in (columns or "").split(",") if name.strip()]
    comparison = compare_results(found, published=published is True, columns=chosen)
    if html is not None:
        states = [path.with_suffix(".state") for path in results]
        reasons = write_page(
            compare_results(found, published=published is not False),
            out=html,
            states=states,
            datasets=_datasets(data or [], states=states, images=images, split=split, present_only=present_only),
            gallery_of=gallery_of,
        )
        for reason in reasons if data else []:
            print(f"note: {shown(reason)}", file=sys.stderr)
    if kind == "terminal" and out is None:
        if html is None:
            comparison.terminal()
        else:
            print(html)
        return
    text = comparison.plain() if kind == "terminal" else FORMATS[kind](comparison)
    if out is None:
        print(text, end="")
    else:
        with atomic_path(out) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _datasets(
    specs: list[str], *, states: list[Path], images: Path | None, split: str | None, present_only: bool
) -> list[NamedPhotos]:
    """Open the data sets given by --data. --split applies to those with splits and requires at least one of them.

    Photos that agreement was measured on come with the masks of each reference that `states` keep.
    """
    paths = [resolve_data(spec) for spec in specs]
    splits = [split if split is not None and has_splits(path) else None for path in paths]
    if split is not None and paths and not any(splits):
        raise InputError(f"--split {split}: no data set of {', '.join(specs)} has splits; leave it out")
    found: list[NamedPhotos] = []
    for path, one in zip(paths, splits, strict=True):
        name, own = data_name(path), has_own_photos(path)
        answers = kept_answers(states, name=name)
        if answers or own:
            photos = open_own_photos(path, images=images)[0]
            found += [AnsweredPhotos(photos, name=name, answers=its) for its in answers or [{}]]
        if not own:
            found.append(open_dataset(path, images=images, split=one, present_only=present_only))
    return found


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(compare)
