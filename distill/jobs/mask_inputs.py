"""What `repvit-sam masks` opens: the model and the photos; and advice where no mask passes the thresholds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.jobs.eval_models import name_and_model, open_models
from encoders.errors import InputError
from encoders.samples.image import read_image
from eval_zeroshot import ModelFacts
from eval_zeroshot.predictors.adapters import is_adapter
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.suites.everything import MaskSettings
from eval_zeroshot.suites.everything.generator import explore
from shards import Source, open_source
from shards.sources.base import PHOTO_SUFFIXES, Item, safe_key

COARSE = 8  # points of a side, to see why a photo has no mask
KEPT = 0.8  # of a photo's best mask's predicted IoU and stability: thresholds that let it and others pass
MAKER = "model"  # what the only model is called where models have names


def open_maker(model: str, *, arch: str | None, image_size: int | None) -> tuple[PredictorLike, ModelFacts]:
    """Open the model; return it with the facts that the files record about it.

    Raises:
        InputError: it cannot be opened, or is of another project and cannot be given an architecture or input size.
    """
    if not Path(model).exists():
        model = name_and_model(model)[1]
    for option, value in (("--arch", arch), ("--image-size", image_size)):
        if value is not None and is_adapter(model):
            raise InputError(f"{option} is for models of this project; {model} has its own, so leave it out")
    opened = open_models({MAKER: model}, arch=arch, image_size=image_size)
    return opened.predictors[MAKER], opened.facts[MAKER]


def note_of(predictor: PredictorLike, image: np.ndarray, *, name: str, settings: MaskSettings) -> str:
    """Return advice on the thresholds to lower for a photo without masks."""
    found = _coarse_masks(predictor, image, settings=settings)
    # Of one mask, as the highest IoU and the highest stability may be those of two
    best = max(found, key=lambda pair: pair[0] * pair[1], default=(0.0, 0.0))
    given = (settings.pred_iou_thresh, settings.stability_score_thresh)
    iou, stability = (min(now, KEPT * its) for now, its in zip(given, best, strict=True))
    highest = " and ".join(f"{max((pair[which] for pair in found), default=0.0):.2f}" for which in (0, 1))
    return (
        f"note: no mask of {name} passed --min-iou {settings.pred_iou_thresh:g} and --min-stability "
        f"{settings.stability_score_thresh:g}; the highest there are {highest}. To find masks in such "
        f"photos, run this again with lower ones, e.g. --min-iou {iou:.2f} --min-stability {stability:.2f}"
    )


def _coarse_masks(predictor: PredictorLike, image: np.ndarray, *, settings: MaskSettings) -> list[tuple[float, float]]:
    """Return predicted IoU and stability of each mask on a coarse grid over a photo."""
    predictor.set_image(image)
    side = min(COARSE, settings.points_per_side)
    loose = replace(settings, points_per_side=side, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    found = explore(predictor, shape=(image.shape[0], image.shape[1]), settings=loose).candidates
    return [(one.score, one.stability) for one in found]


def photos_of(spec: Path) -> Iterator[tuple[str, str, Any]]:
    """Return (file name, key, function that reads it) for each photo."""
    if spec.is_file() and spec.suffix.lower() in PHOTO_SUFFIXES:
        yield spec.name, safe_key(spec.stem), lambda: read_image(spec)
        return
    source = open_source(str(spec), masks=False)
    for item in source.items():
        yield item.where, item.key, _reader(source, item)


def _reader(source: Source, item: Item) -> Any:
    return lambda: source.photo(item).image
