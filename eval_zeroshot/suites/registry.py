"""The suites by name: those that are ready made, and those that are made for the boxes or the reference that a user gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from encoders.errors import InputError, did_you_mean
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.detections import Detections, read_detections
from eval_zeroshot.datasets.opening import find_annotations
from eval_zeroshot.predictors.reference import ReferencedPhotos
from eval_zeroshot.suites.about import ABOUT, COCO, About
from eval_zeroshot.suites.agreement import BOTH, NAMES, Agreement
from eval_zeroshot.suites.anomaly import Anomaly
from eval_zeroshot.suites.base import Suite
from eval_zeroshot.suites.box import BoxIou
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp, suite_name
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS, InstanceProtocol
from eval_zeroshot.suites.detector_boxes.seginw import SegInW
from eval_zeroshot.suites.edges.suite import Edges
from eval_zeroshot.suites.edgesam import EdgeSamBox, EdgeSamPoint
from eval_zeroshot.suites.efficientvit_sam import EfficientVitSamBox, EfficientVitSamPoint
from eval_zeroshot.suites.everything.settings import MaskSettings
from eval_zeroshot.suites.everything.suite import Everything
from eval_zeroshot.suites.point import PointIou
from eval_zeroshot.suites.robustness import BoxJitter, PointShift
from eval_zeroshot.suites.saliency import Saliency
from eval_zeroshot.suites.video import Video

MAX_CLICKS = 20  # as in interactive segmentation's usual protocol
GROUPS = {BOTH: tuple(NAMES)}  # names that stand for several suites


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a user gives; files are read when a suite first needs them, once for all suites.

    Attributes:
        data: the annotations, or their folder, that AP is measured on.
        boxes: a detector's results; for seginw a folder of them.
        photos: samples with a reference model's masks in place of annotations.
        clicks: numbers of clicks that suite point reports; None for its usual ones.
    """

    data: Path | str
    boxes: Path | str | None = None
    photos: ReferencedPhotos | None = None
    clicks: tuple[int, ...] | None = None

    @cached_property
    def detector(self) -> tuple[Detections, Annotations]:
        """The boxes, which must be there, and the annotations."""
        assert self.boxes is not None
        return read_detections(self.boxes), read_annotations(find_annotations(Path(self.data)))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A suite of the registry.

    Attributes:
        about: what it measures and what data it needs.
        make: the suite, from what a user gives.
        ready: the suite itself where it does not depend on what a user gives.
        annotated: whether it needs annotations, not a reference model's masks.
    """

    about: About
    make: Callable[[Given], Suite]
    ready: Suite | None = None
    annotated: bool = True


SUITES: dict[str, Entry] = {}


def register_suite(suite: Suite, *, about: About | None = None) -> None:
    """Make a suite known by its name.

    Args:
        about: its protocol on COCO's data when None.

    Raises:
        InputError: it is a class, or the name is taken.
    """
    if isinstance(suite, type):
        raise InputError(f"{suite.__name__} is a class; expected a suite: register_suite({suite.__name__}())")
    _add(suite.name, Entry(about=about or About(suite.protocol, COCO), make=lambda given: suite, ready=suite))


def register_suite_maker(name: str, make: Callable[[Given], Suite], *, about: About, annotated: bool = True) -> None:
    """Make a suite known that depends on what a user gives; see `Entry`.

    Raises:
        InputError: the name is taken.
    """
    _add(name, Entry(about=about, make=make, annotated=annotated))


def _add(name: str, entry: Entry) -> None:
    if name in SUITES or name in GROUPS:
        raise InputError(f"there is a suite called {name} already; give yours another name")
    SUITES[name] = entry


def ready_suites() -> dict[str, Suite]:
    """Name -> suite, of those that do not depend on what a user gives."""
    return {name: entry.ready for name, entry in SUITES.items() if entry.ready is not None}


def get_suite(name: str) -> Suite:
    """A ready-made suite by name.

    Raises:
        InputError: there is none, near misses are named; or it is made from what a user gives.
    """
    ready = _entry(name).ready
    if ready is None:
        raise InputError(f"{name} depends on the data; make it by choose_suites([{name!r}], data=..., boxes=...)")
    return ready


def choose_suites(
    names: Iterable[str],
    *,
    data: Path | str,
    boxes: Path | str | None = None,
    photos: ReferencedPhotos | None = None,
    clicks: Iterable[int] | None = None,
) -> list[Suite]:
    """Suites by name, in the order given, each once; "agreement" stands for boxes and points.

    Args:
        names: of `SUITES`.
        data, boxes, photos, clicks: see `Given`; with `photos` all suites are of agreement.

    Raises:
        InputError: an unknown name, an instance suite without boxes or with unfit ones, a suite that needs annotations
            beside one that does without, or numbers of clicks that are out of range or that no suite reports.
    """
    wanted = dict.fromkeys(name for group in names for name in GROUPS.get(group, (group,)))
    entries = {name: _entry(name) for name in wanted}
    for name, entry in entries.items():
        if entry.annotated and photos is not None:
            raise InputError(
                f"{name} needs annotations, which agreement does without; evaluate them by two calls, with the same --out"
            )
    if clicks is not None and PointIou.name not in entries:
        raise InputError(f"--clicks is an option of the suite {PointIou.name}; add -s {PointIou.name}, or leave it out")
    given = Given(data=data, boxes=boxes, photos=photos, clicks=None if clicks is None else tuple(clicks))
    return [entry.make(given) for entry in entries.values()]


def needs_annotations(name: str) -> bool:
    """Whether a suite is measured on annotations, as all but agreement are; a name that is unknown counts as one."""
    known = [SUITES[each] for each in GROUPS.get(name, (name,)) if each in SUITES]
    return all(entry.annotated for entry in known)


def _entry(name: str) -> Entry:
    known = [*SUITES, *GROUPS]
    if name not in SUITES:
        raise InputError(f"no suite is called {name!r}; suites: {', '.join(sorted(known))}{did_you_mean(name, known, most=2)}")
    return SUITES[name]


def _point(given: Given) -> Suite:
    if given.clicks is None:
        return point_iou
    if not all(1 <= count <= MAX_CLICKS for count in given.clicks):
        raise InputError(f"--clicks {' '.join(map(str, given.clicks))}: expected numbers from 1 to {MAX_CLICKS}")
    return PointIou(clicks=sorted(set(given.clicks) - {1}))  # the first is always reported


def _instance(protocol: InstanceProtocol, given: Given) -> Suite:
    if given.boxes is None:
        raise InputError(f"{suite_name(protocol)} needs a detector's boxes: give its results in COCO's format by --boxes")
    detections, truth = given.detector
    return InstanceAp(protocol, detections=detections, truth=truth)


def _agreement(name: str, given: Given) -> Suite:
    if given.photos is None:
        raise InputError(f"{name} needs a reference model's masks of the photos: give the model by --reference")
    return Agreement(name, photos=given.photos)


box_iou = BoxIou()
point_iou = PointIou()
_add(point_iou.name, Entry(about=ABOUT[point_iou.name], make=_point, ready=point_iou))
_everything_32 = Everything(name="everything_32", settings=MaskSettings(), source="segment-anything's default mask generation")
for _suite in (
    box_iou,
    EdgeSamBox(),
    EdgeSamPoint(),
    EfficientVitSamBox(),
    EfficientVitSamPoint(),
    BoxJitter(),
    PointShift(),
    Edges(),
    Everything(),
    _everything_32,
    Saliency(),
    Anomaly(),
    Video(),
):
    register_suite(_suite, about=ABOUT[_suite.name])
for _protocol in PROTOCOLS.values():
    _name = suite_name(_protocol)
    register_suite_maker(_name, partial(_instance, _protocol), about=ABOUT[_name])
register_suite_maker(SegInW.name, lambda given: SegInW.open(given.data, boxes=given.boxes), about=ABOUT[SegInW.name])
for _name in NAMES:
    register_suite_maker(_name, partial(_agreement, _name), about=ABOUT[_name], annotated=False)
