"""Photos of one bright block on a dark ground, with their annotations."""

import json
from pathlib import Path

import numpy as np

from encoders.samples.rle import encode_mask

SIZE, PHOTOS, UNMARKED = 64, 8, (6, 7)
HEIGHT, WIDTH = 48, 80


def block(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Photo `number`, (48, 80, 3) uint8, and the mask of its block, off-centre."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    x, y = int(rng.integers(4, 40)), int(rng.integers(2, 20))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + 20, x : x + 30] = True
    image[mask] += 150
    return image, mask


def write_coco(path: Path) -> None:
    """Write a COCO json of all photos; those in UNMARKED have no annotation."""
    images, annotations = [], []
    for number in range(PHOTOS):
        _, mask = block(number)
        images.append({"id": number + 1, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
        if number not in UNMARKED:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [int(columns[0]), int(rows[0]), len(columns), len(rows)]
            facts = {"bbox": box, "area": int(mask.sum()), "iscrowd": 0, "category_id": 1}
            annotations.append({"id": number + 1, "image_id": number + 1, "segmentation": encode_mask(mask), **facts})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "block"}]}
    path.write_text(json.dumps(content))
