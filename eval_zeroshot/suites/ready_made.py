"""The ready-made suites by name. A further one is a class like `Suite` and a line here."""

import difflib
from collections.abc import Iterable

from encoders.errors import InputError
from eval_zeroshot.suites.anomaly import Anomaly
from eval_zeroshot.suites.base import Suite
from eval_zeroshot.suites.box import BoxIou
from eval_zeroshot.suites.edges.suite import Edges
from eval_zeroshot.suites.edgesam import EdgeSamBox, EdgeSamPoint
from eval_zeroshot.suites.efficientvit_sam import EfficientVitSamBox, EfficientVitSamPoint
from eval_zeroshot.suites.everything.settings import MaskSettings
from eval_zeroshot.suites.everything.suite import Everything
from eval_zeroshot.suites.point import PointIou
from eval_zeroshot.suites.robustness import BoxJitter, PointShift
from eval_zeroshot.suites.saliency import Saliency
from eval_zeroshot.suites.video import Video

box_iou = BoxIou()
point_iou = PointIou()
edges = Edges()
everything = Everything()
everything_32 = Everything(name="everything_32", settings=MaskSettings(), source="segment-anything's default mask generation")
SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        box_iou,
        point_iou,
        EdgeSamBox(),
        EdgeSamPoint(),
        EfficientVitSamBox(),
        EfficientVitSamPoint(),
        BoxJitter(),
        PointShift(),
        edges,
        everything,
        everything_32,
        Saliency(),
        Anomaly(),
        Video(),
    )
}


def get_suite(name: str, *, others: Iterable[str] = ()) -> Suite:
    """A suite by name.

    Raises:
        InputError: there is none; near misses are named, among `others` too, which are made elsewhere.
    """
    if name in SUITES:
        return SUITES[name]
    known = sorted({*SUITES, *others})
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(f"no suite is called {name!r}; {hint}suites: {', '.join(known)}")
