"""A tar as SA-1B has them: photos of its size with 100 masks each."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.photos import HEIGHT, SA1B_QUALITY, WIDTH
from encoders.samples.rle import encode_mask

MASKS = 100
DRAWN = 3  # different sets of masks; drawing them takes longer than reading them


def make_tar(path: Path, *, start: Path, count: int, scale: float = 1.0, seed: int = 0) -> Path:
    """Write a tar of `count` pairs of `sa_N.jpg` and `sa_N.json`.

    Args:
        start: folder of photos (*.jpg), enlarged to SA-1B's size and turned to landscape.
        scale: of the sides of the photos.
    """
    width, height = round(WIDTH * scale), round(HEIGHT * scale)
    sets = [_masks((height, width), seed=seed + number) for number in range(min(DRAWN, count))]
    photos = sorted(start.glob("*.jpg"))
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            photo = Image.open(photos[number % len(photos)]).convert("RGB")
            if photo.width < photo.height:
                photo = photo.transpose(Image.Transpose.ROTATE_90)
            jpeg = io.BytesIO()
            photo.resize((width, height), Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=SA1B_QUALITY)
            image = {"image_id": number, "width": width, "height": height, "file_name": f"sa_{number}.jpg"}
            record = {"image": image, "annotations": sets[number % len(sets)]}
            for suffix, content in (("jpg", jpeg.getvalue()), ("json", json.dumps(record).encode())):
                info = tarfile.TarInfo(f"./sa_{number}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def _masks(shape: tuple[int, int], *, seed: int) -> list[dict[str, object]]:
    """Draw MASKS wavy blobs of many sizes, as SA-1B states its masks."""
    rng = np.random.default_rng(seed)
    made: list[dict[str, object]] = []
    while len(made) < MASKS:
        radius = np.exp(rng.uniform(np.log(0.01), np.log(0.25))) * shape[0]
        row, column, waves = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.integers(3, 30, 2)
        top, left = max(0, int(row - radius)), max(0, int(column - radius))
        rows = np.arange(top, min(shape[0], int(row + radius) + 1))[:, None] - row
        columns = np.arange(left, min(shape[1], int(column + radius) + 1)) - column
        angle = np.arctan2(rows, columns)
        edge = radius * (0.8 + 0.12 * np.sin(waves[0] * angle) + 0.08 * np.sin(waves[1] * angle))
        mask = np.zeros(shape, bool)
        mask[top : top + len(rows), left : left + len(columns)] = np.hypot(rows, columns) < edge
        if not mask.any():
            continue
        found_rows, found_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, right, bottom = map(float, (found_columns[0], found_rows[0], found_columns[-1], found_rows[-1]))
        facts = {"predicted_iou": float(rng.uniform(0.88, 1)), "stability_score": float(rng.uniform(0.92, 1))}
        place = {"bbox": [x, y, right - x, bottom - y], "crop_box": [0.0, 0.0, float(shape[1]), float(shape[0])]}
        points = {"point_coords": [[float(column), float(row)]]}
        instance = {"id": len(made) + 1, "area": int(mask.sum()), "segmentation": encode_mask(mask)}
        made.append(instance | facts | place | points)
    return made
