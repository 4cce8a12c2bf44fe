"""Annotations and results as columns of numbers, for array operations over all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import IouType


@dataclass(frozen=True, kw_only=True)
class Table:
    """N detections or objects, columns of N values each.

    Attributes:
        image, category: (N,) int64 places in the sorted lists of images and categories.
        area: (N,) float64 in pixels.
        shapes: N boxes xywh or RLEs.
    """

    image: np.ndarray
    category: np.ndarray
    area: np.ndarray
    shapes: list[Any]

    def take(self, chosen: np.ndarray) -> "Table":
        """Some of the rows, in the order given."""
        return Table(
            image=self.image[chosen],
            category=self.category[chosen],
            area=self.area[chosen],
            shapes=[self.shapes[index] for index in chosen],
        )


def objects_of(
    truth: Annotations, images: dict[int, int], categories: dict[int, int], *, iou_type: IouType
) -> tuple[Table, list[dict[str, Any]]]:
    """The annotations of known images and categories, by image, and as a table."""
    known = [a for a in truth.annotations if a["image_id"] in images and a["category_id"] in categories]
    known.sort(key=lambda annotation: images[annotation["image_id"]])
    sizes = truth.shapes

    def shape(annotation: dict[str, Any]) -> Any:
        return annotation["bbox"] if iou_type == "bbox" else truth.rle(annotation, shape=sizes[annotation["image_id"]])

    return _columns(known, images, categories, areas=[a["area"] for a in known], shapes=list(map(shape, known))), known


def detections_of(
    results: list[dict[str, Any]], images: dict[int, int], categories: dict[int, int], *, iou_type: IouType
) -> tuple[Table, np.ndarray]:
    """Results of known categories as a table, and their scores; a box's area is its own, a mask's the mask's."""
    known = [result for result in results if result["category_id"] in categories]
    if iou_type == "segm":
        shapes = [result["segmentation"] for result in known]
        areas = [float(coco_mask.area(rle)) for rle in shapes]  # of a list of 256 and more it fails on numpy 2
    else:
        shapes = [result.get("bbox") or coco_mask.toBbox(result["segmentation"]).tolist() for result in known]
        areas = [
            box[2] * box[3] if "bbox" in result else float(coco_mask.area(result["segmentation"]))
            for result, box in zip(known, shapes, strict=True)
        ]
    scores = np.asarray([result["score"] for result in known], np.float64)
    return _columns(known, images, categories, areas=areas, shapes=shapes), scores


def _columns(
    records: list[dict[str, Any]], images: dict[int, int], categories: dict[int, int], *, areas: Any, shapes: list[Any]
) -> Table:
    return Table(
        image=np.asarray([images[record["image_id"]] for record in records], np.int64),
        category=np.asarray([categories[record["category_id"]] for record in records], np.int64),
        area=np.asarray(areas, np.float64),
        shapes=shapes,
    )


def sorted_ids(truth: Annotations) -> tuple[dict[int, int], dict[int, int]]:
    """id -> place in order of ids, of images and of categories."""
    images = sorted({image["id"] for image in truth.images})
    categories = sorted({category["id"] for category in truth.categories})
    return {id_: n for n, id_ in enumerate(images)}, {id_: n for n, id_ in enumerate(categories)}


def category_notes(truth: Annotations, field: str, images: dict[int, int], categories: dict[int, int]) -> set[int]:
    """What LVIS images say of categories, as image place x categories + category place."""
    return {
        images[image["id"]] * len(categories) + categories[id_]
        for image in truth.images
        for id_ in image[field]
        if id_ in categories
    }


def best_of_each_image(results: list[dict[str, Any]], *, most: int) -> list[dict[str, Any]]:
    """The `most` results of each image with the highest scores; of equals the earlier ones."""
    by_image: dict[int, list[dict[str, Any]]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    return [
        result
        for members in by_image.values()
        for result in (members if len(members) <= most else sorted(members, key=lambda r: -r["score"])[:most])
    ]


def best_first(found: Table, scores: np.ndarray) -> np.ndarray:
    """Order by category, image, score from high to low, then as given."""
    return np.lexsort((-scores, found.image, found.category))


def rank_in_group(found: Table) -> np.ndarray:
    """(N,) place of each detection among those of its image and category, which stand together."""
    count = len(found.image)
    if count == 0:
        return np.zeros(0, np.int64)
    new = np.ones(count, bool)
    new[1:] = (np.diff(found.image) != 0) | (np.diff(found.category) != 0)
    starts = np.flatnonzero(new)
    return np.arange(count) - starts[np.cumsum(new) - 1]
