"""Photos and SA-1B-style tars made here: non-square, of different sizes, with objects off the diagonal."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from encoders.samples.rle import encode_mask


def make_photo(number: int) -> np.ndarray:
    """(H, W, 3) uint8: a smooth gradient with a bright rectangle; size and content depend on the number."""
    height, width = [(60, 90), (96, 64), (50, 120), (200, 150)][number % 4]
    yy, xx = np.mgrid[:height, :width]
    image = np.stack([xx * 255 / width, yy * 255 / height, (xx + yy + 13 * number) % 256], axis=-1)
    image[10:30, 5 : 25 + number % 20] = (250, 40, 10 * number % 256)
    return image.astype(np.uint8)


def make_masks(number: int) -> list[np.ndarray]:
    """Two masks of photo `number`: its rectangle and a small one."""
    masks = [np.zeros(make_photo(number).shape[:2], bool) for _ in range(2)]
    masks[0][10:30, 5 : 25 + number % 20] = True
    masks[1][40:43, 30:37] = True
    return masks


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def sa1b_json(number: int) -> bytes:
    """The annotations of photo `number` as SA-1B writes them; bbox is one less than pycocotools' there too."""
    height, width = make_photo(number).shape[:2]
    annotations = []
    for index, mask in enumerate(make_masks(number)):
        ys, xs = np.nonzero(mask)
        box = [float(v) for v in (xs.min(), ys.min(), xs.max() - xs.min(), ys.max() - ys.min())]
        annotations.append(
            {"id": 100 * number + index, "bbox": box, "area": int(mask.sum()), "segmentation": encode_mask(mask)}
            | {"predicted_iou": 0.9, "stability_score": 0.95, "point_coords": [[7.5, 12.0]], "crop_box": [0, 0, 9, 9]}
        )
    name = f"sa_{number}"
    image = {"image_id": number, "width": width, "height": height, "file_name": f"{name}.jpg"}
    return json.dumps({"image": image, "annotations": annotations}).encode()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def cut_end_mark(path: Path) -> None:
    """Cut a tar off behind its last member."""
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data + bytes(-len(data) % tarfile.BLOCKSIZE))


def pair(number: int) -> list[tuple[str, bytes]]:
    return [(f"./sa_{number}.jpg", jpeg(make_photo(number))), (f"./sa_{number}.json", sa1b_json(number))]
