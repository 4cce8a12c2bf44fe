"""`repvit-sam masks`: everything in photos, as SA-1B writes it."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import encoders
from distill.options import JsonOption, every_few_seconds
from distill.place import this_place
from encoders.errors import InputError
from encoders.files import atomic_path, check_output_folder
from encoders.image import read_image
from encoders.sample import image_sha256
from eval_zeroshot.everything import MaskGenerator, MaskSettings
from eval_zeroshot.everything.generator import explore
from eval_zeroshot.protocol import PredictorLike
from shards import Source, open_source
from shards.source import PHOTO_SUFFIXES, Item, safe_key

DEFAULT = MaskSettings()
COARSE = 8  # points of a side, to see why a photo has no mask
ID_BITS = 48  # of a photo's number; a mask's number has 14 bits more, for up to 4096 points with three masks each


def masks(
    model: Annotated[str, typer.Option("--model", "-m", help="Run folder, weights, or name.")],
    photos: Annotated[Path, typer.Option(help="A photo, a folder of photos, SA-1B tars, or a COCO json.")],
    out: Annotated[Path, typer.Option(help="Folder for one JSON a photo, in SA-1B's format.")],
    points: Annotated[int, typer.Option(help="Points of a side of the grid.")] = DEFAULT.points_per_side,
    budget: Annotated[int | None, typer.Option(help="Ask so many points at most, the most promising first.")] = None,
    min_iou: Annotated[float, typer.Option(help="Predicted IoU that a mask must exceed.")] = DEFAULT.pred_iou_thresh,
    min_stability: Annotated[float, typer.Option(help="Stability that a mask must have.")] = DEFAULT.stability_score_thresh,
    nms: Annotated[float, typer.Option(help="Box overlap above which two masks are one.")] = DEFAULT.box_nms_thresh,
    min_area: Annotated[int, typer.Option(help="Fill holes and drop pieces of fewer pixels.")] = DEFAULT.min_mask_region_area,
    arch: Annotated[str | None, typer.Option(help="Architecture of a foreign checkpoint file.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Another input size, where the model allows it.")] = None,
    json_: JsonOption = False,
) -> None:
    """All masks of photos by a grid of points, one JSON a photo; run it again to continue.

    The masks are those of segment-anything's automatic mask generation with the same settings and no crops. Ranks of a
    launcher share the photos. A photo that cannot be read is named and left out, and the command then returns 1.

    Example: repvit-sam masks --model sam_demo --photos my_photos --out my_masks --points 16 --min-iou 0.5
    """
    settings = MaskSettings(
        points_per_side=points,
        pred_iou_thresh=min_iou,
        stability_score_thresh=min_stability,
        box_nms_thresh=nms,
        min_mask_region_area=min_area,
    )
    if budget is not None and budget < 1:
        raise InputError(f"--budget {budget} finds nothing; give 1 point or more, or leave it out for the whole grid")
    found = write_masks(
        model, photos=photos, out=out, settings=settings, budget=budget, arch=arch, image_size=image_size
    )
    if json_:
        print(json.dumps(found))
    else:
        print(f"{found['written']} photos with {found['masks']} masks written to {out}, {found['kept']} were there already")
    if found["failed"]:
        raise typer.Exit(1)


def write_masks(
    model: str,
    *,
    photos: Path,
    out: Path,
    settings: MaskSettings,
    budget: int | None = None,
    arch: str | None = None,
    image_size: int | None = None,
) -> dict[str, Any]:
    """Write OUT/KEY.json for each photo of this rank that has none yet.

    Returns:
        Numbers of photos `written` and `kept`, of `masks` written, and the photos that `failed` with the reason.

    Raises:
        InputError: no photo, an unusable model, or a file in OUT that was made otherwise.
    """
    place = this_place()
    sam = encoders.load(model, arch=arch, image_size=image_size).to(place.device)
    generator = MaskGenerator(encoders.Predictor(sam), settings=settings)
    maker = {
        "arch": sam.arch,
        "weights_sha256": encoders.weights_sha256(model),
        "image_size": sam.image_size,
        "budget": budget,
        **settings.json(),
    }
    items = list(_photos(photos))[place.rank :: place.world_size]
    check_output_folder(out)
    say = every_few_seconds()
    written = kept = count = 0
    failed: dict[str, str] = {}
    last: tuple[str, np.ndarray] | None = None  # photo that masks were made of
    for done, (name, key, read) in enumerate(items, start=1):
        path = out / f"{key}.json"
        try:
            image = read()
        except InputError as error:
            failed[name] = str(error)
            say(f"left out: {error}", last=True)
            continue
        made = {**maker, "image_sha256": image_sha256(image)}
        if path.is_file():
            _check_maker(path, made)
            kept += 1
        else:
            record = sa1b_record(generator.generate(image, budget=budget), name=name, image=image)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps({**record, "generator": made}), encoding="utf-8")
            written, count, last = written + 1, count + len(record["annotations"]), (name, image)
        say(f"photo {done}/{len(items)}", last=done == len(items))
    if last is not None and not count:
        name, image = last
        iou, stability = _best_of(generator.predictor, image, settings=settings)
        print(
            f"note: no mask passed --min-iou {settings.pred_iou_thresh:g} and --min-stability "
            f"{settings.stability_score_thresh:g}; the highest on {name} are {iou:.2f} and {stability:.2f}. Lower them, with "
            "another --out, as these photos count as done",
            file=sys.stderr,
        )
    return {"written": written, "kept": kept, "masks": count, "failed": failed}


def _best_of(predictor: PredictorLike, image: np.ndarray, *, settings: MaskSettings) -> tuple[float, float]:
    """Highest predicted IoU and stability on a coarse grid over a photo."""
    predictor.set_image(image)
    side = min(COARSE, settings.points_per_side)
    loose = replace(settings, points_per_side=side, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    found = explore(predictor, shape=(image.shape[0], image.shape[1]), settings=loose).candidates
    return max((one.score for one in found), default=0.0), max((one.stability for one in found), default=0.0)


def sa1b_record(records: list[dict[str, Any]], *, name: str, image: np.ndarray) -> dict[str, Any]:
    """Masks of one photo in SA-1B's annotation format.

    SA-1B numbers photos and masks; here the numbers come from the photo's name, so that they stay when photos are added.
    """
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[: ID_BITS // 8], "big")
    facts = {"image_id": number, "width": int(image.shape[1]), "height": int(image.shape[0]), "file_name": name}
    return {"image": facts, "annotations": [{"id": (number << 14) + i, **record} for i, record in enumerate(records)]}


def _photos(spec: Path) -> Iterator[tuple[str, str, Any]]:
    """(file name, key, function that reads it) of each photo."""
    if spec.is_file() and spec.suffix.lower() in PHOTO_SUFFIXES:
        yield spec.name, safe_key(spec.stem), lambda: read_image(spec)
        return
    source = open_source(str(spec), masks=False)
    for item in source.items():
        yield item.where, item.key, _reader(source, item)


def _reader(source: Source, item: Item) -> Any:
    return lambda: source.photo(item).image


def _check_maker(path: Path, maker: dict[str, Any]) -> None:
    try:
        other = json.loads(path.read_text(encoding="utf-8"))["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not of this command; expected masks that it has written. Choose another folder") from error
    known = [name for name in maker if name != "image_sha256" or name in other]  # earlier versions did not keep it
    if differ := [name for name in known if other.get(name) != maker[name]]:
        changes = ", ".join(f"{name} {other.get(name)} there and {maker[name]} now" for name in differ)
        raise InputError(f"{path} was made otherwise: {changes}. Choose another folder, or delete the file to make it anew")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(masks)
