"""Average precision and recall of results on annotations, by named backends that give the same numbers."""

from typing import Any

from encoders.errors import InputError
from encoders.messages.words import counted
from eval_zeroshot.ap import fast as ap_fast
from eval_zeroshot.ap import reference as ap_reference
from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import IouType

BACKENDS = ("fast", "reference")
COCO_NAMES: tuple[str, ...] = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
LVIS_NAMES: tuple[str, ...] = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"),
    *("AR@300", "ARs@300", "ARm@300", "ARl@300"),
)


def average_precision(
    truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType, backend: str = "fast"
) -> dict[str, float | None]:
    """All numbers that the data set's own package prints, as fractions, None where there is no object to measure on.

    Args:
        truth: its kind decides the rules and the names: `COCO_NAMES` or `LVIS_NAMES`.
        results: as `detections.checked_for` gives them. Of a category that the annotations do not list they do not count.
        iou_type: masks or boxes.
        backend: "fast" is ours, "reference" is pycocotools or lvis; tests hold them equal.

    Raises:
        InputError: no such backend, or a malformed annotation.
        MissingExtra: the reference for LVIS needs the lvis package.
    """
    if backend not in BACKENDS:
        raise InputError(f"no backend is called {backend!r}; expected {' or '.join(BACKENDS)}")
    if iou_type == "segm" and (bare := [a for a in truth.annotations if "segmentation" not in a]):
        raise InputError(f"{truth.name} has {counted(len(bare), 'annotation')} without segmentation; it allows bbox AP only")
    if iou_type == "segm" and backend == "reference":
        shapes = truth.shapes
        for annotation in truth.annotations:  # the packages would end in an error of their own
            if annotation["image_id"] in shapes:
                truth.rle(annotation, shape=shapes[annotation["image_id"]])
    module = ap_fast if backend == "fast" else ap_reference
    numbers, names = (module.coco_numbers, COCO_NAMES) if truth.kind == "coco" else (module.lvis_numbers, LVIS_NAMES)
    values = numbers(truth, results, iou_type=iou_type)
    return {name: None if value < 0 else value for name, value in zip(names, values, strict=True)}
