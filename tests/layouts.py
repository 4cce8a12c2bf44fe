"""Tiny data sets in their official layouts, for tests of readers, suites and commands."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from encoders.samples.rle import encode_mask

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + 252 * [64, 64, 64]  # 256 entries: a shorter one is saved in fewer bits


def rectangle(box, *, shape=(20, 30)):
    """(H, W) bool: the pixels of a box, xyxy."""
    x0, y0, x1, y1 = box
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def photo_of(masks, *, shape=(20, 30)):
    """A drawn photo: each mask in a bright colour of its own on a dark ground."""
    image = np.full((*shape, 3), 30, np.uint8)
    for number, mask in enumerate(masks):
        image[mask] = [(230, 60, 50), (60, 220, 80), (70, 110, 240)][number % 3]
    return image


def save(path: Path, pixels: np.ndarray, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image = Image.fromarray(pixels, mode="P")
        image.putpalette(PALETTE)
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def make_duts(root: Path, masks: dict[str, np.ndarray]) -> Path:
    """DUTS-TE with photos by name, 0 and 255 in the masks."""
    for name, mask in masks.items():
        save(root / "DUTS-TE" / "DUTS-TE-Image" / f"{name}.jpg", photo_of([mask], shape=mask.shape))
        save(root / "DUTS-TE" / "DUTS-TE-Mask" / f"{name}.png", mask.astype(np.uint8) * 255)
    return root / "DUTS-TE"


def make_mvtec(root: Path, masks: dict[str, np.ndarray | None], *, shape=(20, 30)) -> Path:
    """MVTec AD with masks by "CATEGORY/DEFECT/NUMBER"; a good photo has None."""
    folder = root / "mvtec_anomaly_detection"
    for place, mask in masks.items():
        category, defect, number = place.split("/")
        save(folder / category / "test" / defect / f"{number}.png", photo_of([] if mask is None else [mask], shape=shape))
        (folder / category / "ground_truth").mkdir(exist_ok=True)
        if mask is not None:
            save(folder / category / "ground_truth" / defect / f"{number}_mask.png", mask.astype(np.uint8) * 255)
    return folder


def make_davis(root: Path, sequences: dict[str, list[np.ndarray]], *, split: str = "val") -> Path:
    """DAVIS with frames by sequence, given as (H, W) numbers of objects, 255 void."""
    folder = root / "DAVIS"
    for name, frames in sequences.items():
        for index, labels in enumerate(frames):
            masks = [labels == number for number in (1, 2, 3)]
            save(folder / "JPEGImages" / "480p" / name / f"{index:05d}.jpg", photo_of(masks, shape=labels.shape))
            save(folder / "Annotations" / "480p" / name / f"{index:05d}.png", labels.astype(np.uint8), palette=True)
    (folder / "ImageSets" / "2017").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "2017" / f"{split}.txt").write_text("\n".join(sequences) + "\n")
    return folder


def make_uvo(root: Path, videos: dict[str, dict[int, list[np.ndarray | None]]]) -> Path:
    """A json of videos with a mask or None for each object and frame, and the frames beside it."""
    content: dict[str, list] = {"videos": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    for number, (name, tracks) in enumerate(videos.items(), start=1):
        frames = len(next(iter(tracks.values())))
        shape = next(mask.shape for masks in tracks.values() for mask in masks if mask is not None)
        for index in range(frames):
            seen = [masks[index] for masks in tracks.values() if masks[index] is not None]
            save(root / "uvo_videos_dense_frames" / name / f"{index}.png", photo_of(seen, shape=shape))
        names = [f"{name}/{index}.png" for index in range(frames)]
        content["videos"].append({"id": number, "width": shape[1], "height": shape[0], "file_names": names})
        content["annotations"] += [
            {"id": track, "video_id": number, "category_id": 1}
            | {"segmentations": [None if mask is None else encode_mask(mask) for mask in masks]}
            for track, masks in tracks.items()
        ]
    (root / "UVO_video_val_dense.json").write_text(json.dumps(content))
    return root / "UVO_video_val_dense.json"


def make_seginw(root: Path, parts: dict[str, dict[str, list[np.ndarray]]]) -> tuple[Path, Path]:
    """SegInW with masks by data set and photo, all of category 1, and a folder of perfect boxes for each: (data, boxes)."""
    data, boxes = root / "seginw", root / "boxes"
    boxes.mkdir()
    for part, photos in parts.items():
        images, annotations, detections = [], [], []
        for number, (name, masks) in enumerate(photos.items(), start=1):
            shape = masks[0].shape
            save(data / part / "valid" / name, photo_of(masks, shape=shape))
            images.append({"id": number, "file_name": name, "height": shape[0], "width": shape[1]})
            for mask in masks:
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
                shared = {"image_id": number, "category_id": 1, "bbox": box}
                facts = {"id": len(annotations) + 1, "area": int(mask.sum()), "iscrowd": 0, "segmentation": encode_mask(mask)}
                annotations.append(shared | facts)
                detections.append(shared | {"score": 0.9})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": part.lower()}]}
        (data / part / "valid" / "_annotations.coco.json").write_text(json.dumps(content))
        (boxes / f"{part}.json").write_text(json.dumps(detections))
    return data, boxes
