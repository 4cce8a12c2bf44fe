"""How many photos a second one core can bring to a teacher and from it into shards, and how busy that keeps the teacher.

Photos are real ones brought to SA-1B's 2250 x 1500 pixels, with 100 masks each, in a tar as SA-1B has them. The teacher costs
nothing: its embedding was made beforehand, as a GPU's arrive without work of a core. What is timed, in processor seconds, so
that other programs matter less:
- pipeline: `ShardMaker` makes the shards, with all its threads.
- reference: the same work in one thread, photo after photo, by the functions that the stages call.
- milliseconds: both of these, and what each stage takes of one photo in one thread (medians).

With `--teacher-rate N` the teacher instead takes the time of N photos a second and leaves the cores free; printed is the
share of the time, from its first batch to its last, that it is busy. `--scale 0.5` makes the photos smaller, for a machine
whose cores cannot feed that rate.

Run: python -m benchmarks.feed [--json] [--photos 32] [--rounds 5] [--codec int8] [--decode exact near fast] [--batch 8]
[--workers N] [--teacher-rate 65] [--scale 1] [--folder FOLDER_OF_PHOTOS]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

import shards
from benchmarks.codec import smooth_embedding
from benchmarks.feed_tar import make_tar
from benchmarks.output import print_facts
from benchmarks.photos import SHIPPED_PHOTOS
from benchmarks.timing import CpuTimed, alternate
from encoders.contract import IMAGE_SIZE, PREPROCESS_VERSION
from encoders.samples.image import decode_image, decode_shrunk
from shards.cache.files import to_line
from shards.cache.identity import CacheIdentity
from shards.cache.shard_writer import ShardFile
from shards.cache.stored_photo import Decode, StoredPhoto, decode_mark, encode_jpeg, resize_photo, store_item
from shards.codec.records import encode_embedding
from shards.codec.seal import seal_record
from shards.pipeline.maker import ShardMaker
from shards.pipeline.teacher_pass import Pass
from shards.sources.annotations import normalize_annotations
from shards.sources.base import Photo, Source
from shards.sources.tars import parse_annotations


class SimulatedGpu:
    """Passes of a teacher that works beside the cores, one batch after another, at a given rate.

    Args:
        rate: photos a second; infinite if None.
        batch: most photos of a batch.

    Attributes:
        spans: begin and end of each pass, in seconds of `time.perf_counter`.
    """

    ahead = 1

    def __init__(self, *, rate: float | None, batch: int) -> None:
        self.spans: list[tuple[float, float]] = []
        self._seconds = 1 / rate if rate else 0.0
        self._embeddings = np.repeat(smooth_embedding()[None], batch, axis=0)
        self._pinned = np.zeros((batch, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)

    def launch(self, photos: Sequence[StoredPhoto]) -> Pass:
        """Copy the photos to where a GPU would fetch them, and queue the pass behind those before."""
        for place, photo in zip(self._pinned, photos, strict=False):
            place[: photo.pixels.shape[0], : photo.pixels.shape[1]] = photo.pixels
        begin = max(time.perf_counter(), self.spans[-1][1] if self.spans else 0.0)
        self.spans.append((begin, begin + self._seconds * len(photos)))
        return Pass(self._embeddings[: len(photos)], seconds=0.0, done=_Event(self.spans[-1][1]))

    def release(self, finished: Pass) -> None:
        """Nothing to give back."""

    @property
    def busy_share(self) -> float:
        """Share of the time from the first pass to the last that a pass takes."""
        return sum(end - begin for begin, end in self.spans) / (self.spans[-1][1] - self.spans[0][0])


class _Event:
    def __init__(self, moment: float) -> None:
        self._moment = moment

    def synchronize(self) -> None:
        time.sleep(max(0.0, self._moment - time.perf_counter()))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed; `folder` is empty."""
    tar = make_tar(folder / "sa_000000.tar", start=options.folder, count=options.photos, scale=options.scale)
    source = shards.open_source(tar)
    facts: dict[str, Any] = {name: getattr(options, name) for name in ("photos", "codec", "batch", "rounds", "scale")}
    facts["workers"] = options.workers or len(os.sched_getaffinity(0))
    facts["photo_bytes"] = statistics.median(source.item_bytes(item) for item in source.items())
    for decode in options.decode:
        if options.teacher_rate:
            shares = [busy_share(source, decode, folder, options) for _ in range(options.rounds)]
            facts[decode] = {"busy_share": statistics.median(shares), "busy_shares": [round(share, 3) for share in shares]}
        else:
            facts[decode] = cost(source, decode, folder, options)
    return facts


def busy_share(source: Source, decode: Decode, folder: Path, options: argparse.Namespace) -> float:
    """Share of the time that a teacher of the given rate is busy."""
    gpu = SimulatedGpu(rate=options.teacher_rate, batch=options.batch)
    make(source, decode, folder, options, gpu)
    return gpu.busy_share


def cost(source: Source, decode: Decode, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Processor time of a photo: the pipeline's, the single thread's, and by stage."""
    gpu = SimulatedGpu(rate=None, batch=options.batch)
    ways = {
        "pipeline": CpuTimed(lambda: make(source, decode, folder, options, gpu)),
        "reference": CpuTimed(lambda: make_in_one_thread(source, decode, folder, options)),
    }
    alternate(ways, rounds=options.rounds)
    milliseconds = {name: 1000 * way.cpu_seconds / options.photos for name, way in ways.items()}
    by_stage = milliseconds | stages(source, decode, folder, options)
    return {
        "photos_per_second_per_core": 1000 / milliseconds["pipeline"],
        "pipeline_over_reference": milliseconds["pipeline"] / milliseconds["reference"],
        "milliseconds": {name: round(value, 2) for name, value in by_stage.items()},
    }


def identity_of(source: Source, decode: Decode, options: argparse.Namespace) -> CacheIdentity:
    """Identity of the cache that is made: two shards, so that their border is crossed."""
    return CacheIdentity(
        teacher="none",
        teacher_sha256="0" * 64,
        preprocess_version=PREPROCESS_VERSION + decode_mark(decode),
        image_size=IMAGE_SIZE,
        codec=options.codec,
        codec_version=1,
        source=source.name,
        source_sha256="0" * 64,
        samples_per_shard=-(-options.photos // 2),
        shards=2,
    )


def make(source: Source, decode: Decode, folder: Path, options: argparse.Namespace, gpu: SimulatedGpu) -> None:
    """Make the shards by the pipeline."""
    call: dict[str, Any] = {"batch_size": options.batch, "decode_workers": options.workers, "folder": folder}
    with ShardMaker(source, teacher=gpu, identity=identity_of(source, decode, options), **call) as maker:
        for made in maker.make(range(2)):
            made.discard()


def make_in_one_thread(source: Source, decode: Decode, folder: Path, options: argparse.Namespace) -> None:
    """Make one shard of all photos, one after another."""
    file, embedding = ShardFile(folder / "train-000000.tar"), smooth_embedding()
    for item in source.items():
        photo = store_item(source, item, image_size=IMAGE_SIZE, decode=decode)
        assert isinstance(photo, StoredPhoto)
        facts = photo.json
        record = encode_embedding(embedding, shape=photo.pixels.shape[:2], codec=options.codec)
        file.add(photo.key, jpeg=photo.jpeg, embedding=seal_record(record, jpeg=photo.jpeg, facts=facts), facts=facts)
    file.finish()
    file.abandon()


def stages(source: Source, decode: Decode, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of a core that each stage takes of a photo."""
    seconds: dict[str, list[float]] = {}

    def timed(stage: str, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        begin = time.thread_time()
        result = function(*arguments, **more)
        seconds.setdefault(stage, []).append(time.thread_time() - begin)
        return result

    file, embedding = ShardFile(folder / "train-000000.tar"), smooth_embedding()
    with (folder / "sa_000000.tar").open("rb") as tar:
        for item in source.items():
            where, (_, *spans) = item.where, item.locator
            data, raw = timed("read", lambda at: [os.pread(tar.fileno(), size, start) for start, size in at], spans)
            long_side = IMAGE_SIZE if decode == "fast" else None
            image, shape = timed("decode", decode_shrunk, data, name=where, long_side=long_side)
            photo = Photo(key=item.key, image=image, whole=shape)
            pixels = timed("resize", resize_photo, photo, image_size=IMAGE_SIZE, decode=decode)
            jpeg = timed("encode_jpeg", encode_jpeg, pixels)
            timed("decode_jpeg", decode_image, jpeg, name=where)
            facts = timed("annotations", _annotations, raw, shape, where)
            record = timed("code", encode_embedding, embedding, shape=pixels.shape[:2], codec=options.codec)
            sealed = timed("seal", seal_record, record, jpeg=jpeg, facts=facts)
            timed("write", file.add, item.key, jpeg=jpeg, embedding=sealed, facts=facts)
    file.abandon()
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def _annotations(raw: bytes, shape: tuple[int, int], where: str) -> bytes:
    record = parse_annotations(raw, where=where)
    return to_line({"annotations": normalize_annotations(record["annotations"], shape=shape, where=where)})


def main() -> None:
    """Print a line a figure, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codec", choices=shards.CODECS, default="int8")
    parser.add_argument("--decode", nargs="+", choices=get_args(Decode), default=get_args(Decode))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, help="threads that read photos; the cores of this process by default")
    parser.add_argument("--teacher-rate", type=float, help="photos a second of a simulated teacher")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sides of the photos")
    parser.add_argument("--folder", type=Path, default=SHIPPED_PHOTOS, help="photos (*.jpg) to start from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(Path(folder), options)
    print_facts(facts, as_json=options.json)


if __name__ == "__main__":
    main()
