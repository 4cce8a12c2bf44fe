"""Normalisation of annotations to the form that the cache stores: COCO instances with checked RLE masks."""

from typing import Any

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.coco import finite_numbers, normalize_instances
from encoders.untrusted import json_kind

MAX_INSTANCES = 10_000  # per photo; SA-1B has a few hundred at most
MAX_TEXT = 500  # longest licence or URL, characters


def normalize_annotations(annotations: Any, *, shape: Shape, where: str) -> list[dict[str, Any]]:
    """Check instances and convert their masks to RLE, without decoding any mask.

    Args:
        annotations: COCO or SA-1B instances; `segmentation` is polygons or RLE.
        shape: (height, width) of the photo in pixels.
        where: name of the photo in error messages.

    Returns:
        One dict per instance, see `encoders.samples.coco.normalize_instance`, with SA-1B's own fields where given.

    Raises:
        InputError: names the photo and the annotation.
    """
    if not isinstance(annotations, list):
        raise InputError(f"{where}: annotations are {json_kind(annotations)}; expected a JSON list")
    if len(annotations) > MAX_INSTANCES:
        raise InputError(f"{where}: {len(annotations)} annotations; at most {MAX_INSTANCES} per photo are supported")
    try:
        instances = normalize_instances(annotations, shape=shape)
        return [instance | _sa1b_fields(given) for instance, given in zip(instances, annotations, strict=True)]
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def plain_facts(record: dict[str, Any], names: tuple[str, ...], *, where: str) -> dict[str, int | str]:
    """Return the named fields that a record has, checked to be short and plain.

    Raises:
        InputError: a field is neither an integer nor a short text.
    """
    facts = {name: record[name] for name in names if record.get(name) is not None}
    for name, value in facts.items():
        if type(value) is not int and not (isinstance(value, str) and len(value) <= MAX_TEXT):
            raise InputError(f"{where}: its {name} is {json_kind(value)}; expected a whole number or a short text")
    return facts


def _sa1b_fields(annotation: dict[str, Any]) -> dict[str, Any]:
    """Return SA-1B's extra fields, if present: the mask's prompt, crop box, predicted IoU and stability score."""
    fields: dict[str, Any] = {}
    try:
        for name in ("predicted_iou", "stability_score"):
            if name in annotation:
                fields[name] = finite_numbers([annotation[name]], count=1)[0]
        if "point_coords" in annotation:
            fields["point_coords"] = [finite_numbers(point, count=2) for point in annotation["point_coords"]]
        if "crop_box" in annotation:
            fields["crop_box"] = finite_numbers(annotation["crop_box"], count=4)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"annotation {annotation['id']}: {type(error).__name__}: {error}") from error
    return fields
