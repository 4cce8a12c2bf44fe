"""UVO's dense videos, and others in the json format of YouTube-VIS, as samples. Source: Wang et al., 2104.04691."""

import mmap
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.messages.words import counted
from encoders.samples.annotation_json import read_annotation_json
from encoders.samples.image import read_image
from encoders.samples.rle import decode_segmentation
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.frames import frame_sample, video_blocks
from eval_zeroshot.datasets.missing import check_missing

FRAME_FOLDERS = (".", "images", "JPEGImages", "uvo_videos_dense_frames")  # where frames may lie beside the json
HOW_TO_GET = (
    "UVO: get UVO_video_val_dense.json and the videos by https://sites.google.com/view/unidentified-video-object/dataset, "
    "split them into frames as its scripts do, and give the json, with the folder of frames by --images if it is not beside "
    "it; expected `videos` with `file_names` and `annotations` with one of `segmentations` for each frame"
)


EXPECTED = "a json of videos, as UVO's and YouTube-VIS's"
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Video(BaseModel):
    id: Id
    file_names: list[str]


class _Track(BaseModel):
    """An object of a video, with RLE, polygons or None for each frame."""

    id: Id
    video_id: Id
    segmentations: list[Any]


class _Content(BaseModel):
    videos: list[_Video]
    annotations: list[_Track]


class VideoJsonDataset:
    """The frames of all videos. An object is given in the first frame where it has a mask, and followed from there.

    Args:
        path: json with `videos` (id, width, height, file_names) and `annotations` (id, video_id, segmentations: RLE, polygons
            or None for each frame).
        images: folder that the file names start from; beside the json when None.

    Raises:
        InputError: no such json, a record lacks a field or has something else there, or frames are missing.
    """

    def __init__(self, path: Path | str, *, images: Path | str | None = None) -> None:
        self.path = Path(path)
        try:
            content = TypeAdapter(_Content).validate_python(read_annotation_json(self.path, expected=EXPECTED))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{self.path} is no json of videos ({where}: {first['msg']}). {HOW_TO_GET}") from error
        self.videos = sorted(content.videos, key=lambda video: video.id)
        self._tracks: dict[int, list[_Track]] = defaultdict(list)
        for track in content.annotations:
            self._tracks[track.video_id].append(track)
        self._frames = [(at, frame) for at, video in enumerate(self.videos) for frame in range(len(video.file_names))]
        self._check()
        names = [name for video in self.videos for name in video.file_names]
        places = [Path(images)] if images is not None else [self.path.parent / place for place in FRAME_FOLDERS]
        self.images = next((place for place in places if names and (place / names[0]).is_file()), places[0])
        missing = [name for name in names if not (self.images / name).is_file()]
        where = f"{self.path}, frames in {self.images}"
        check_missing(missing, of=len(names), unit="frame", none="no frames", where=where, how_to_get=HOW_TO_GET)

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
        name = video.file_names[frame]
        image = read_image(self.images / name)
        shape = (image.shape[0], image.shape[1])
        tracks = self._tracks[video.id]
        first = {track.id: _first_seen(track.segmentations) for track in tracks}
        masks = {
            track.id: self._mask(track.segmentations[frame], shape=shape, where=f"annotation {track.id}, {name}")
            for track in tracks
            if first[track.id] <= frame
        }
        return frame_sample(
            image,
            masks=masks,
            given=[number for number in masks if first[number] == frame],
            sequence=f"video{video.id}",
            frame=frame,
            frames=len(video.file_names),
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

    def _check(self) -> None:
        """Each video and each of its tracks has a number of its own, and each track a segmentation for each frame."""
        for what, numbers in (
            ("video", [video.id for video in self.videos]),
            *(("annotation", [track.id for track in tracks]) for tracks in self._tracks.values()),
        ):
            if twice := [number for number, times in Counter(numbers).items() if times > 1]:
                raise InputError(f"{self.path} has the {what} {twice[0]} twice; remove one of them")
        for video in self.videos:
            for track in self._tracks[video.id]:
                given, frames = counted(len(track.segmentations), "segmentation"), counted(len(video.file_names), "frame")
                if len(track.segmentations) != len(video.file_names):
                    raise InputError(f"{self.path}, annotation {track.id}: {given} for {frames}")


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
        content = read_annotation_json(path, expected=EXPECTED)
    except InputError:
        return None
    return path if isinstance(content, dict) and isinstance(content.get("videos"), list) else None
