"""The page: everything of a comparison in one HTML file that needs nothing else."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from encoders.errors import InputError, did_you_mean
from encoders.files import atomic_path
from encoders.messages.shown import shown
from eval_zeroshot.report.columns import Group, group_grid, label, reading_note
from eval_zeroshot.report.curves import Figure, figures
from eval_zeroshot.report.gallery import Gallery, gallery
from eval_zeroshot.report.observed import ObservedFiles
from eval_zeroshot.report.papers import printed_note, published_grid
from eval_zeroshot.report.photos import NamedPhotos, PhotosByKey
from eval_zeroshot.report.render import Grid
from eval_zeroshot.report.summary import summary_grid, told_apart
from eval_zeroshot.report.svg import safe
from eval_zeroshot.report.table import Comparison
from eval_zeroshot.results.result import Result

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)")
LONG, PIECE = 14, re.compile(r"[^_\-/.]{1,14}[_\-/.]?|.")  # letters of a word in a header, and what a longer one is made of
LINK = re.compile(r"https://github\.com/[\w\-./]+")
STUDENT_COLORS = 6  # classes s1 ... s6 of the style sheet; a seventh student has the first's colour, dashed
BASELINE_COLORS = 3


@dataclass(frozen=True, kw_only=True)
class Section:
    """One group on the page; `short` is what the contents call it."""

    name: str
    short: str
    group: Group
    grid: Grid
    note: str
    figures: Sequence[Figure]
    gallery: Gallery


def write_page(
    comparison: Comparison,
    *,
    out: Path | str,
    states: Iterable[Path] = (),
    datasets: Sequence[NamedPhotos] = (),
    gallery_of: str | None = None,
) -> list[str]:
    """Write the page of a comparison.

    Args:
        out: written under a temporary name, then renamed.
        states: folders of observations, `results.state` beside `results.jsonl`; curves and the gallery are made of them.
        datasets: what was evaluated, for the gallery; see `open_dataset`.
        gallery_of: whose worst and median cases the gallery shows; the first student's when None.

    Returns:
        Why a table has no gallery, each reason once.

    Raises:
        InputError: an unknown model, or a photo or object of the observations is not in its data set.
    """
    out = Path(out)
    sections = _sections(comparison, states=states, datasets=datasets, gallery_of=gallery_of)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        temporary.write_text(_render(comparison, sections), encoding="utf-8")
    reasons = (section.gallery.reason for its in sections.values() for section in its)
    return [reason for reason in dict.fromkeys(reasons) if reason]


def page(
    comparison: Comparison,
    *,
    states: Iterable[Path] = (),
    datasets: Sequence[NamedPhotos] = (),
    gallery_of: str | None = None,
) -> str:
    """The page as text; see `write_page`. The same input gives the same bytes."""
    return _render(comparison, _sections(comparison, states=states, datasets=datasets, gallery_of=gallery_of))


def _sections(
    comparison: Comparison, *, states: Iterable[Path], datasets: Sequence[NamedPhotos], gallery_of: str | None
) -> dict[str, list[Section]]:
    """Data set -> what is shown of it."""
    models = _models(comparison)
    if gallery_of is not None and gallery_of not in models:
        hint = did_you_mean(gallery_of, models)
        raise InputError(f"no result is of {gallery_of!r}, whose cases were to be shown{hint}; models: {', '.join(models)}")
    observed, photos = ObservedFiles(states), PhotosByKey(datasets=datasets)
    styles = styles_of(models)
    sections: dict[str, list[Section]] = {}
    for number, group in enumerate(comparison.groups, start=1):
        found = {result.model: observed.of(result) for result in group.results}
        seen = {model: its for model, its in found.items() if its is not None}
        sections.setdefault(group.dataset, []).append(
            Section(
                name=f"table-{number}",
                short=group.suite + told_apart(group, [each for each in comparison.groups if each.dataset == group.dataset]),
                group=group,
                grid=group_grid(group),
                note=reading_note(group),
                figures=figures(group, seen, styles=styles),
                gallery=gallery(group, seen, photos=photos, model=gallery_of),
            )
        )
    return sections


def _render(comparison: Comparison, sections: Mapping[str, Sequence[Section]]) -> str:
    models = _models(comparison)
    styles = styles_of(models)
    papers: dict[str, list[dict[str, Any]]] = {}
    for paper in comparison.published:
        its = {"paper": paper, "grid": published_grid(paper), "printed": printed_note(paper)}
        papers.setdefault(paper.suite, []).append(its)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eval_zeroshot.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=safe,
    )
    environment.filters |= {"linked": linked, "breakable": breakable}
    return environment.get_template("page.html").render(
        sections=sections,
        summaries={name: _summary(name, its) for name, its in sections.items()},
        models=models,
        by_label={label(result): result for group in comparison.groups for result in group.results},
        styles=styles,
        papers=papers,
        measured_families={section.group.reading.family for its in sections.values() for section in its},
        notes=comparison.notes,
        css=_inline(environment, "page.css"),
        js=_inline(environment, "page.js"),
    )


def styles_of(models: Mapping[str, Result]) -> dict[str, str]:
    """Model -> the CSS class of its colour, the same everywhere on the page: ink for teachers, grey for baselines."""
    styles: dict[str, str] = {}
    for role, prefix, colors in (("teacher", "t", 1), ("student", "s", STUDENT_COLORS), ("baseline", "b", BASELINE_COLORS)):
        members = [model for model, result in models.items() if result.role == role]
        for number, model in enumerate(members):
            styles[model] = f"{prefix}{number % colors + 1}" + (" again" if number >= colors else "")
    return styles


def linked(text: str) -> Markup:
    """Text with its arXiv numbers and GitHub addresses as links for a reader; the page itself loads nothing."""
    words = str(escape(shown(text)))
    words = ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', words)
    return Markup(LINK.sub(lambda found: f'<a href="{found[0]}">{found[0].removeprefix("https://")}</a>', words))


def breakable(text: str) -> Markup:
    """Text whose long words, as names of models, may be broken in a narrow column, after their marks if possible."""
    words = [PIECE.findall(word) if len(word) > LONG else [word] for word in shown(text).split(" ")]
    return Markup(" ").join(Markup("<wbr>").join(pieces) for pieces in words)


def _models(comparison: Comparison) -> dict[str, Result]:
    """Model -> a result that says what it is; teachers first, then students, then baselines."""
    results = [result for group in comparison.groups for result in group.results]
    ordered = sorted(results, key=lambda result: result.sort_key[3:])
    models: dict[str, Result] = {}
    for result in ordered:
        models.setdefault(result.model, result)
    return models


def _summary(dataset: str, sections: Sequence[Section]) -> Grid | None:
    groups = [section.group for section in sections]
    return summary_grid(dataset, groups) if len(groups) > 1 else None


def _inline(environment: jinja2.Environment, name: str) -> Markup:
    """A file of ours that goes into the page unescaped."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])
