"""The gallery: the worst and the median cases of one model, with prompt, truth and what each model answered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoders.errors import InputError
from encoders.samples.rle import decode_segmentation
from encoders.samples.sample import Sample
from eval_zeroshot.ap.hits import CORNERS
from eval_zeroshot.prompting.clicks import centre_point
from eval_zeroshot.report.cases import Case, worst_and_median
from eval_zeroshot.report.columns import Group
from eval_zeroshot.report.curves import counts_of
from eval_zeroshot.report.observed import Seen, mask_ious_of_hits, primary_values
from eval_zeroshot.report.photos import PhotosByKey
from eval_zeroshot.report.pictures import cut_out, data_uri, edges_picture, paint, plain, with_prompt
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.results.result import Result
from eval_zeroshot.suites.edges.scores import best_f

COUNT = 4  # cases of each kind
ObjectName = tuple[str, int]  # photo's key, annotation id


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: what it is, the number under it, its data URI and what a reader who cannot see it is told.

    A `drawing` is dark lines on white, which a dark page turns around.
    """

    title: str
    note: str
    uri: str
    alt: str
    drawing: bool = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One case: a line about it and its panels: prompt, truth, each model."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The cases of one group, or why there are none.

    Attributes:
        model: whose worst and median cases they are.
        kind: "masks" or "edges", which decides the legend.
    """

    model: str = ""
    kind: str = "masks"
    worst: tuple[Shown, ...] = ()
    median: tuple[Shown, ...] = ()
    reason: str = ""


def gallery(
    group: Group, seen: Mapping[str, Seen], *, photos: PhotosByKey, model: str | None = None
) -> Gallery:
    """The cases of one group, or why they cannot be shown.

    Args:
        seen: model -> observations, of those that are at hand.
        model: whose cases; the first student's that has observations when None, else the first model's.
    """
    try:
        return _gallery(group, seen, photos=photos, model=model)
    except InputError as error:
        return Gallery(reason=f"The gallery cannot be shown: {error}.")


def _gallery(group: Group, seen: Mapping[str, Seen], *, photos: PhotosByKey, model: str | None) -> Gallery:
    if not photos.datasets:
        return Gallery(reason="The gallery needs the photos: give the data set by --data, as in eval.")
    dataset = group.results[0].dataset  # as eval named it, which a table may have to say more of
    if not photos.called(dataset):
        names = ", ".join(each.name for each in photos.datasets)
        return Gallery(reason=f"The gallery needs the photos of {dataset}; --data gave {names}.")
    if not seen:
        needs = "The gallery needs the observations that eval keeps in the .state folder beside its results"
        return Gallery(reason=f"{needs}, of the same photos and annotations.")
    students = [result.model for result in group.results if result.role == "student" and result.model in seen]
    chosen = model or next(iter([*students, *seen]))
    if chosen not in seen:
        return Gallery(reason=f"There are no observations of {chosen}, whose cases were to be shown.")
    result = next(result for result in group.results if result.model == chosen)
    if counts_of(seen[chosen]):
        return _edges(group, seen, photos=photos, model=chosen)
    values = _numbers(result, seen[chosen])
    if not values or not all(len(photo.masks) == len(photo.areas) == len(photo.ids) for photo in seen[chosen].photos.values()):
        return Gallery(reason=f"{group.suite} has no number for each object, so there is no worst and no median one.")
    areas = {(p.key, number): area for p in seen[chosen].photos.values() for number, area in zip(p.ids, p.areas, strict=True)}
    cases = [Case(name=name, value=value, area=areas[name], photo=name[0]) for name, value in values.items()]
    worst, median = worst_and_median(cases, count=COUNT, higher_is_better=result.direction == "higher")
    samples = photos.samples(group.results[0].dataset, _places(seen[chosen], (case.name[0] for case in [*worst, *median])))
    numbers = {each.model: _numbers(each, seen[each.model]) for each in group.results if each.model in seen}

    def show(case: Case[ObjectName]) -> Shown:
        return _object(group, seen, case=case, sample=samples[case.name[0]], numbers=numbers)

    return Gallery(model=chosen, worst=tuple(map(show, worst)), median=tuple(map(show, median)))


def _object(
    group: Group,
    seen: Mapping[str, Seen],
    *,
    case: Case[ObjectName],
    sample: Sample,
    numbers: Mapping[str, Mapping[ObjectName, float]],
) -> Shown:
    key, number = case.name
    holder = next(its.photos[key] for its in seen.values() if key in its.photos and number in its.photos[key].ids)
    detection = _detection(holder, number)
    annotation = number if detection is None else detection.annotation
    places = np.flatnonzero(sample.annotation_ids == annotation)
    if not len(places):
        raise InputError(f"photo {key} has no object {annotation}; give --data as it was given to eval")
    index = int(places[0])
    truth = sample.masks[index]
    crop = cut_out(truth)
    where = f"object {annotation} of photo {key}"
    mark = _prompt(group.reading.prompt, sample, index, box=None if detection is None else detection.box)
    told, whose = ("reference", "reference's mask") if "prompts" in sample.meta else ("truth", "annotated mask")
    panels = [
        _panel("prompt", "", mark(plain(sample.image, crop=crop), crop), f"prompt for {where}"),
        _panel(told, "", paint(sample.image, crop=crop, truth=truth, answer=truth), f"{whose} of {where}"),
    ]
    for model, its in seen.items():
        photo = its.photos.get(key)
        if photo is None or number not in photo.ids:
            continue
        mask = decode_segmentation(photo.masks[photo.ids.index(number)], shape=sample.shape)
        value = numbers[model].get(case.name)
        note = "" if value is None else f"{value:.3f}"
        picture = paint(sample.image, crop=crop, truth=truth, answer=mask)
        panels.append(_panel(model, note, picture, f"mask of {model} for {where}{note and f', IoU {note}'}"))
    return Shown(title=f"Photo {key}, object {annotation}: {sample.areas[index]:,.0f} px", panels=tuple(panels))


@dataclass(frozen=True, kw_only=True)
class _Detection:
    """A detector's box, xyxy, and the object that it is of."""

    box: tuple[float, ...]
    annotation: int


def _detection(photo: Observation, number: int) -> _Detection | None:
    """The detection that a number of an observation stands for; None where numbers are objects' own."""
    if "annotation" not in photo.values:
        return None
    place = photo.ids.index(number)
    box = tuple(photo.values[corner][place] for corner in CORNERS)
    return _Detection(box=box, annotation=int(photo.values["annotation"][place]))


def _numbers(result: Result, seen: Seen) -> dict[ObjectName, float]:
    """What ranks the cases: the numbers whose mean is the value; of an AP the IoU of each mask whose box is of an object."""
    return primary_values(result, seen) or mask_ious_of_hits(seen)


def _prompt(
    kind: PromptKind | None, sample: Sample, index: int, *, box: Sequence[float] | None
) -> Callable[[Image.Image, tuple[int, int, int, int]], Image.Image]:
    """What draws a suite's prompt: the one given or kept, or that of its kind, from the object's truth."""
    click: Sequence[float] | None = centre_point(sample.masks[index])[:2] if kind == "point" else None
    if box is None and kind == "box":
        box = sample.boxes[index]
    if "prompts" in sample.meta:
        prompt = sample.meta["prompts"][index]
        box = prompt.get("box")
        click = [value - 0.5 for value in prompt["point"]] if "point" in prompt else None  # of a pixel's corner
    return lambda picture, crop: with_prompt(picture, crop=crop, box=box, click=click)


def _edges(group: Group, seen: Mapping[str, Seen], *, photos: PhotosByKey, model: str) -> Gallery:
    best = {each: {key: best_f(counts).f for key, counts in counts_of(its).items()} for each, its in seen.items()}
    cases = [Case(name=key, value=value) for key, value in best[model].items()]
    worst, median = worst_and_median(cases, count=COUNT)
    samples = photos.samples(group.results[0].dataset, _places(seen[model], (case.name for case in [*worst, *median])))

    def show(case: Case[str]) -> Shown:
        sample = samples[case.name]
        whole = (0, 0, sample.shape[1], sample.shape[0])
        drawn = np.mean(np.asarray(sample.boundaries, np.float32), axis=0)
        panels = [
            _panel("photo", "", plain(sample.image, crop=whole), f"photo {case.name}"),
            _panel(
                "truth",
                f"{len(sample.boundaries)} people",
                edges_picture(drawn),
                f"drawn edges of photo {case.name}",
                drawing=True,
            ),
        ]
        for each, its in seen.items():
            path = its.folder / f"{case.name}.png"
            if path.is_file() and case.name in best[each]:
                note = f"{best[each][case.name]:.3f}"
                with Image.open(path) as stored:
                    edges = np.asarray(stored.convert("L"), np.float32) / 255
                panels.append(_panel(each, note, edges_picture(edges), f"edges of {each}, best F {note}", drawing=True))
        return Shown(title=f"Photo {case.name}", panels=tuple(panels))

    return Gallery(model=model, kind="edges", worst=tuple(map(show, worst)), median=tuple(map(show, median)))


def _places(seen: Seen, keys: Iterable[str]) -> dict[str, tuple[int, Observation]]:
    """Key -> its number among the observations, which follow the data set's order unless a run was resumed, and itself."""
    order = {key: number for number, key in enumerate(seen.photos)}
    return {key: (order[key], seen.photos[key]) for key in keys}


def _panel(title: str, note: str, picture: Image.Image, alt: str, *, drawing: bool = False) -> Panel:
    return Panel(title=title, note=note, uri=data_uri(picture), alt=alt, drawing=drawing)
