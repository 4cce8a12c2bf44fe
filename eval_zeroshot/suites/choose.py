"""Suites by name: those that are ready made, and those that are made for a detector's boxes."""

from collections.abc import Iterable
from pathlib import Path

from encoders.errors import InputError
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.detections import Detections, read_detections
from eval_zeroshot.datasets.opening import find_annotations
from eval_zeroshot.suites.agreement import BOTH, NAMES
from eval_zeroshot.suites.base import Suite
from eval_zeroshot.suites.instance import InstanceAp, suite_name
from eval_zeroshot.suites.instance_protocols import PROTOCOLS
from eval_zeroshot.suites.ready_made import get_suite
from eval_zeroshot.suites.seginw import SegInW

INSTANCE_SUITES = {suite_name(protocol): protocol for protocol in PROTOCOLS.values()}


def choose_suites(names: Iterable[str], *, data: Path | str, boxes: Path | str | None = None) -> list[Suite]:
    """Suites by name, in the order given, each once.

    Args:
        names: of `SUITES` or `INSTANCE_SUITES`, or seginw.
        data: the annotations, or their folder, that AP is measured on.
        boxes: a detector's results, for the instance suites; for seginw a folder of them.

    Raises:
        InputError: an unknown name, or an instance suite without boxes or with unfit ones.
    """
    names = list(dict.fromkeys(names))
    needed: tuple[Detections, Annotations] | None = None
    if wanted := [name for name in names if name in INSTANCE_SUITES]:
        if boxes is None:
            raise InputError(f"{wanted[0]} needs a detector's boxes: give its results in COCO's format by --boxes")
        needed = read_detections(boxes), read_annotations(find_annotations(Path(data)))
    suites: list[Suite] = []
    for name in names:
        if name in INSTANCE_SUITES and needed is not None:
            detections, truth = needed
            suites.append(InstanceAp(INSTANCE_SUITES[name], detections=detections, truth=truth))
        elif name == SegInW.name:
            suites.append(SegInW.open(data, boxes=boxes))
        else:
            suites.append(get_suite(name, others=[*INSTANCE_SUITES, SegInW.name, BOTH, *NAMES]))
    return suites
