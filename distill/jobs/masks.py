"""Automatic masks of photos, written as one JSON file per photo in SA-1B's format; interrupted calls can be resumed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from distill.jobs.eval_models import name_and_model, open_models
from distill.launching.world import read_world
from encoders.errors import InputError
from encoders.files import atomic_path, check_output_folder
from encoders.messages.eta import time_left
from encoders.samples.image import read_image
from encoders.samples.sample import image_sha256
from encoders.untrusted import read_json
from eval_zeroshot import ModelFacts
from eval_zeroshot.predictors.adapters import is_adapter
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.report.contact_sheet import paint_masks
from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings
from eval_zeroshot.suites.everything.generator import explore
from shards import Source, open_source
from shards.cache.kept import kept
from shards.sources.base import PHOTO_SUFFIXES, Item, safe_key

COARSE = 8  # points of a side, to see why a photo has no mask
KEPT = 0.8  # of the highest predicted IoU and stability of a photo: thresholds that let its best masks pass
ID_BITS = 48  # of a photo's number; a mask's number has 14 bits more, for up to 4096 points with three masks each
MAX_BYTES = 2**28  # of a photo's masks; 4096 points give some 10 MB
OVERLAY_PIXELS = 1600  # long side of a picture with masks
STAYS = "photos that are finished stay"
MAKER = "model"  # what the only model is called where models have names
OPTIONS = {  # of `repvit-sam masks`, by the name a file keeps them under
    "image_size": "--image-size",
    "budget": "--budget",
    "points_per_side": "--points",
    "pred_iou_thresh": "--min-iou",
    "stability_score_thresh": "--min-stability",
    "box_nms_thresh": "--nms",
    "min_mask_region_area": "--min-area",
}
Say = Callable[..., None]


def write_masks(
    model: str,
    *,
    photos: Path,
    out: Path,
    settings: MaskSettings,
    budget: int | None = None,
    arch: str | None = None,
    image_size: int | None = None,
    overlays: Path | None = None,
    say: Say = lambda line, *, last: None,
) -> dict[str, Any]:
    """Write OUT/KEY.json for each of this rank's photos that does not have one yet.

    A photo without masks does not count as done: a call with other settings tries it again.

    Args:
        model: as `eval` takes it, with or without NAME=.
        overlays: folder for a JPEG of each photo with its masks, or None.
        say: takes lines of progress and, with `last=True`, notes that must be seen.

    Returns:
        Numbers of photos `written`, `kept` and `without` a mask, of `masks` written, and the photos that `failed` with the
        reason. `without` are among those written or kept.

    Raises:
        InputError: no photo, an unusable model, or a file in OUT that was made otherwise.
    """
    world = read_world()
    predictor, facts = open_maker(model, arch=arch, image_size=image_size)
    generator = MaskGenerator(predictor, settings=settings)
    maker = {
        "arch": facts.arch,
        "weights_sha256": facts.sha256 or "",  # a model of the user's own need not say it, nor its size
        "image_size": getattr(predictor, "image_size", None) or 0,
        "budget": budget,
        **settings.json(),
    }
    items = list(photos_of(photos))[world.rank :: world.world_size]
    for folder in (out, overlays):
        if folder is not None:
            with kept(folder, what=STAYS):
                check_output_folder(folder)
    found: dict[str, Any] = {"written": 0, "kept": 0, "without": 0, "masks": 0, "failed": {}}
    noted = False
    started = time.monotonic()
    for done, (name, key, read) in enumerate(items, start=1):
        path = out / f"{key}.json"
        try:
            image = read()
        except InputError as error:
            found["failed"][name] = str(error)
            say(f"left out: {error}", last=True)
            continue
        made = {**maker, "image_sha256": image_sha256(image)}
        record = kept_record(path, made) if path.exists() else None
        if record is None:
            record = sa1b_record(generator.generate(image, budget=budget), name=name, image=image)
            with kept(out, what=STAYS), atomic_path(path) as temporary:
                temporary.write_text(json.dumps({**record, "generator": made}), encoding="utf-8")
            found["written"] += 1
            found["masks"] += len(record["annotations"])
        else:
            found["kept"] += 1
        if not record["annotations"]:
            found["without"] += 1
            if not noted:  # before hours go into photos that get none either
                say(note_of(generator.predictor, image, name=name, settings=settings), last=True)
                noted = True
        if overlays is not None:
            with kept(overlays, what=STAYS):
                write_overlay(overlays / f"{key}.jpg", image, record["annotations"])
        left = time_left(done, len(items), time.monotonic() - started)
        say(f"photo {done}/{len(items)}, {found['masks']} masks{left}", last=done == len(items))
    return found


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
    iou, stability = _best_of(predictor, image, settings=settings)
    return (
        f"note: no mask of {name} passed --min-iou {settings.pred_iou_thresh:g} and --min-stability "
        f"{settings.stability_score_thresh:g}; the highest there are {iou:.2f} and {stability:.2f}. To find masks in such "
        f"photos, run this again with lower ones, e.g. --min-iou {KEPT * iou:.2f} --min-stability {KEPT * stability:.2f}"
    )


def _best_of(predictor: PredictorLike, image: np.ndarray, *, settings: MaskSettings) -> tuple[float, float]:
    """Return the highest predicted IoU and stability on a coarse grid over a photo."""
    predictor.set_image(image)
    side = min(COARSE, settings.points_per_side)
    loose = replace(settings, points_per_side=side, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    found = explore(predictor, shape=(image.shape[0], image.shape[1]), settings=loose).candidates
    return max((one.score for one in found), default=0.0), max((one.stability for one in found), default=0.0)


def sa1b_record(records: list[dict[str, Any]], *, name: str, image: np.ndarray) -> dict[str, Any]:
    """Convert the masks of one photo to SA-1B's annotation format.

    SA-1B numbers photos and masks; here the numbers come from the photo's name, so that they stay when photos are added.
    """
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[: ID_BITS // 8], "big")
    facts = {"image_id": number, "width": int(image.shape[1]), "height": int(image.shape[0]), "file_name": name}
    return {"image": facts, "annotations": [{"id": (number << 14) + i, **record} for i, record in enumerate(records)]}


def write_overlay(path: Path, image: np.ndarray, annotations: list[dict[str, Any]]) -> None:
    """Write a photo (H, W, 3) uint8 RGB with its masks as coloured areas, the largest below, as a JPEG."""
    largest_first = sorted(annotations, key=lambda one: -one["area"])
    masks = [coco_mask.decode(one["segmentation"]).astype(bool) for one in largest_first]
    height, width = image.shape[:2]
    scale = min(1.0, OVERLAY_PIXELS / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = paint_masks(image, np.stack(masks) if masks else np.zeros((0, height, width), bool), size=size)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=90)


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


def kept_record(path: Path, maker: dict[str, Any]) -> dict[str, Any] | None:
    """Read an earlier call's record of a photo; None if it has no masks and was made with other settings.

    Raises:
        InputError: the file is not of this command, or its masks were made otherwise.
    """
    content = read_json(path, max_bytes=MAX_BYTES)
    try:
        other, annotations = dict(content["generator"]), list(content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not of this command; expected masks that it has written. Choose another folder") from error
    known = [name for name in maker if name != "image_sha256" or name in other]  # earlier versions did not keep it
    differ = [name for name in known if other.get(name) != maker[name]]
    if differ and not annotations:
        return None
    if differ:
        changes = ", ".join(f"{OPTIONS.get(name, name)} {other.get(name)} there and {maker[name]} now" for name in differ)
        raise InputError(
            f"{path} was made otherwise: {changes}. Give --out another folder, or delete the file to make only this photo anew"
        )
    return {"annotations": annotations}
