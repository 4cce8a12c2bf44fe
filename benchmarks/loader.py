"""The loader against the obvious pipeline, and against its limit: decoding the stored JPEGs. One core, no workers.

Photos are real ones brought to SA-1B's 2250 x 1500 pixels, embeddings are random. What is timed is a worker's part:
- obvious: a webdataset of the photos with `.npy` embeddings (2 MiB fp16) beside them; PIL decodes and resizes, numpy
  normalises and pads to (3, 1024, 1024) float32, the embedding becomes float32, torch's default_collate makes batches.
- ours: `ShardLoader.batches`: read, decode, uint8 pixels and int8 codes in a batch. The rest is done on the device, once
  a batch; what it takes on this CPU is told beside, as `device_part_seconds`.
- limit: simplejpeg, which `encoders.samples.image` decodes with, decodes the JPEGs of the cache, from memory.

Run: python -m benchmarks.loader [--json] [--photos N] [--rounds N] [--folder FOLDER_OF_PHOTOS]
"""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import default_collate

import shards
from benchmarks.output import print_facts
from benchmarks.photos import SHIPPED_PHOTOS, make_photos
from benchmarks.timing import alternate
from encoders.contract import EMBED_DIM, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD, STRIDE
from encoders.sam import Sam

BATCH = 8
SIDE = IMAGE_SIZE // STRIDE


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--photos", type=int, default=32, help=f"a multiple of {BATCH}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=SHIPPED_PHOTOS, help="photos (*.jpg) to start from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(Path(folder), photos=options.photos, rounds=options.rounds, start=options.folder)
    print_facts(facts, as_json=options.json)


def measure(folder: Path, *, photos: int, rounds: int, start: Path) -> dict[str, float]:
    """Time the three ways over the same photos.

    Returns:
        `speedup` (obvious / ours), `share_of_decode_limit` (limit / ours), and seconds of one sample each.
    """
    big = make_photos(folder / "photos", start=start, count=photos)
    tar = write_obvious(folder / "obvious.tar", big)
    shards.precompute(
        shards.open_source(big),
        teacher=random_teacher(),
        teacher_name="random",
        teacher_sha256="0" * 64,
        out=folder / "cache",
        samples_per_shard=photos,
    )
    loader = shards.ShardLoader(folder / "cache", batch_size=BATCH)
    stream = loader.batches()
    steps = photos // BATCH
    reader = shards.ShardReader(loader.manifest)
    stored = [reader.read(0, sample).jpeg for sample in range(photos)]
    batch = next(loader.batches())
    seconds = alternate(
        {
            "obvious": lambda: [None for _ in obvious_batches(tar)],
            "ours": lambda: [None for _ in islice(stream, steps)],
            "limit": lambda: [simplejpeg.decode_jpeg(jpeg) for jpeg in stored],
            "device_part": lambda: [batch.to_device("cpu") for _ in range(steps)],
        },
        rounds=rounds,
    )
    return {
        "speedup": seconds["obvious"] / seconds["ours"],
        "share_of_decode_limit": seconds["limit"] / seconds["ours"],
        **{f"{name}_seconds": value / photos for name, value in seconds.items()},
        "photos": photos,
        "rounds": rounds,
    }


def random_teacher() -> Sam:
    """Embeddings with SAM's shape and nothing to say."""

    class Random(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.randn(len(image), EMBED_DIM, SIDE, SIDE)

    return Sam(arch="random", image_encoder=Random(), image_size=IMAGE_SIZE).eval()


def write_obvious(tar: Path, photos: Path) -> Path:
    """The photos as they are, and the whole embedding as fp16."""
    random = np.random.default_rng(0)
    with webdataset.TarWriter(str(tar)) as writer:
        for path in sorted(photos.iterdir()):
            embedding = random.standard_normal((EMBED_DIM, SIDE, SIDE), np.float32).astype(np.float16)
            writer.write({"__key__": path.stem, "jpg": path.read_bytes(), "npy": embedding})
    return tar


def obvious_batches(tar: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """(B, 3, S, S) float32 normalised and padded, (B, 256, S/16, S/16) float32."""
    dataset = webdataset.WebDataset(str(tar), shardshuffle=False).decode("pil").to_tuple("jpg", "npy").map(obvious_sample)
    samples = iter(dataset)
    while group := list(islice(samples, BATCH)):
        image, embedding = default_collate(group)
        yield image, embedding


def obvious_sample(sample: tuple[Image.Image, np.ndarray]) -> tuple[Tensor, Tensor]:
    """One sample as it is usually prepared."""
    photo, embedding = sample
    scale = IMAGE_SIZE / max(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    mean, std = np.asarray(PIXEL_MEAN, np.float32), np.asarray(PIXEL_STD, np.float32)
    pixels = (np.asarray(photo.resize(size, Image.Resampling.BILINEAR), np.float32) - mean) / std
    padded = np.zeros((3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    padded[:, : size[1], : size[0]] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(padded), torch.from_numpy(embedding.astype(np.float32))


if __name__ == "__main__":
    main()
