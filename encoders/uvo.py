"""UVO's dense videos, and others in the json format of YouTube-VIS, as samples. Source: Wang et al., 2104.04691."""

import json
import mmap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.image import read_image
from encoders.rle import decode_segmentation
from encoders.sample import Sample
from encoders.video import frame_sample, video_blocks

FRAME_FOLDERS = (".", "images", "JPEGImages", "uvo_videos_dense_frames")  # where frames may lie beside the json
HOW_TO_GET = (
    "UVO: get UVO_video_val_dense.json and the videos by https://sites.google.com/view/unidentified-video-object/dataset, "
    "split them into frames as its scripts do, and give the json, with the folder of frames by --images if it is not beside "
    "it; expected `videos` with `file_names` and `annotations` with one of `segmentations` for each frame"
)


class VideoJsonDataset:
    """The frames of all videos. An object is given in the first frame where it has a mask, and followed from there.

    Args:
        path: json with `videos` (id, width, height, file_names) and `annotations` (id, video_id, segmentations: RLE, polygons
            or None for each frame).
        images: folder that the file names start from; beside the json when None.

    Raises:
        InputError: no such json, a record lacks a field, or frames are missing.
    """

    def __init__(self, path: Path | str, *, images: Path | str | None = None) -> None:
        self.path = Path(path)
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.videos = sorted(content["videos"], key=lambda video: video["id"])
            self._tracks: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for annotation in content["annotations"]:
                self._tracks[annotation["video_id"]].append({k: annotation[k] for k in ("id", "segmentations")})
            self._frames = [(at, frame) for at, video in enumerate(self.videos) for frame in range(len(video["file_names"]))]
            for video in self.videos:
                self._check_lengths(video)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.path} is no json of videos ({type(error).__name__}: {error}). {HOW_TO_GET}") from error
        names = [name for video in self.videos for name in video["file_names"]]
        places = [Path(images)] if images is not None else [self.path.parent / place for place in FRAME_FOLDERS]
        self.images = next((place for place in places if names and (place / names[0]).is_file()), places[0])
        missing = [name for name in names if not (self.images / name).is_file()]
        if missing or not names:
            lacks = f"{len(missing)} of {len(names)} frames are not in {self.images}, {missing[0]} first"
            raise InputError(f"{self.path}: {lacks if missing else 'no frames'}. {HOW_TO_GET}")

    def __len__(self) -> int:
        return len(self._frames)

    def blocks(self) -> list[range]:
        """Numbers of the frames of each video."""
        return video_blocks(self._frames)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read frame `index`, videos in order of their ids."""
        at, frame = self._frames[index]
        video = self.videos[at]
        name = video["file_names"][frame]
        image = read_image(self.images / name)
        shape = (image.shape[0], image.shape[1])
        first = {track["id"]: _first_seen(track["segmentations"]) for track in self._tracks[video["id"]]}
        masks = {
            track["id"]: self._mask(track["segmentations"][frame], shape=shape, where=f"annotation {track['id']}, {name}")
            for track in self._tracks[video["id"]]
            if first[track["id"]] <= frame
        }
        return frame_sample(
            image,
            masks=masks,
            given=[number for number in masks if first[number] == frame],
            sequence=f"video{video['id']}",
            frame=frame,
            frames=len(video["file_names"]),
            source=self.path.stem,
            file_name=name,
        )

    def _mask(self, segmentation: Any, *, shape: Shape, where: str) -> np.ndarray:
        if not segmentation:
            return np.zeros(shape, bool)
        try:
            return decode_segmentation(segmentation, shape=shape)
        except InputError as error:
            raise InputError(f"{self.path}, {where}: {error}") from error

    def _check_lengths(self, video: dict[str, Any]) -> None:
        for track in self._tracks[video["id"]]:
            given, expected = len(track["segmentations"]), len(video["file_names"])
            if given != expected:
                raise InputError(f"{self.path}, annotation {track['id']}: {given} segmentations for {expected} frames")


def _first_seen(segmentations: list[Any]) -> int:
    """Number of the first frame with a mask; beyond the last where there is none."""
    return next((frame for frame, segmentation in enumerate(segmentations) if segmentation), len(segmentations))


def find_videos(path: Path | str) -> Path | None:
    """The path itself if it is a json with `videos`; a file that does not hold the word is not parsed."""
    path = Path(path)
    if not path.is_file() or path.suffix != ".json" or not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b'"videos"') < 0:
            return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return path if isinstance(content, dict) and isinstance(content.get("videos"), list) else None
