"""Average precision by the packages that published numbers come from: pycocotools for COCO, lvis for LVIS."""

import contextlib
import io
import logging
import types
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from encoders.errors import MissingExtra
from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import IouType

Records = list[dict[str, Any]]


def coco_numbers(truth: Annotations, results: Records, *, iou_type: IouType) -> list[float]:
    """pycocotools' twelve numbers in its order, -1 where there is nothing to measure.

    Args:
        results: see `detections.checked_for`; not changed.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        coco = COCO()
        coco.dataset = _copy(truth)
        for annotation in coco.dataset["annotations"]:
            annotation.setdefault("iscrowd", 0)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(result) for result in results]), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def lvis_numbers(truth: Annotations, results: Records, *, iou_type: IouType) -> list[float]:
    """The lvis package's thirteen numbers in its order, -1 where there is nothing to measure.

    Raises:
        MissingExtra: the package is not installed.
    """
    LVIS, LVISResults, LVISEval = _lvis()
    dataset = LVIS.__new__(LVIS)  # its constructor reads a file, the records are here already
    dataset.logger = logging.getLogger("lvis.lvis")
    dataset.dataset = _copy(truth)
    dataset._create_index()
    warned = logging.getLogger("lvis.results")
    before, warned.level = warned.level, logging.ERROR  # "Assuming user provided the results in correct format": checked
    try:
        found = LVISResults(dataset, [dict(result) for result in results])
    finally:
        warned.level = before
    evaluation = LVISEval(dataset, found, iou_type)
    evaluation.run()
    return [float(value) for value in evaluation.results.values()]


def _lvis() -> tuple[Any, Any, Any]:
    """LVIS, LVISResults, and an LVISEval that works on numpy 1.24 and later.

    lvis 0.5.3 says `np.float`, which numpy no longer has. Its method is run with a namespace of its own in which `np` has
    it, so neither numpy nor lvis is changed for anyone else.
    """
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        import lvis.eval
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "lvis", extra="eval") from error
    finally:
        root.handlers[:] = handlers  # importing lvis calls logging.basicConfig, which is the caller's to do
    from lvis.eval import LVISEval

    numpy = types.ModuleType("numpy")
    numpy.__dict__.update(vars(np), float=float)
    original = LVISEval.accumulate
    accumulate = types.FunctionType(original.__code__, {**vars(lvis.eval), "np": numpy}, original.__name__)
    patched = type("LVISEval", (LVISEval,), {"accumulate": accumulate})
    return lvis.eval.LVIS, lvis.eval.LVISResults, patched


def _copy(truth: Annotations) -> dict[str, Any]:
    """The truth as a data set that the packages may write into.

    Annotations are numbered from 1: both packages take an id of 0 for "not matched" and count the match as a miss.
    """
    annotations = [annotation | {"id": number} for number, annotation in enumerate(truth.annotations, start=1)]
    return {"images": truth.images, "annotations": annotations, "categories": truth.categories}
