"""Time and memory of what a run does with all of SA-1B before and between its photos: listing, planning, ordering.

No photo is needed. Made up for it, `--scale` times as many:
- 1,000 tars of 11,186 photos each, as holes in files; what is real are their kept indexes, which listing reads.
- a cache of 11,186 shards of 1,000 photos: `cache.json`, `manifest.jsonl`, and the shards as holes in files.

Each part runs in a process of its own, and is measured from after its imports:
- listing: from the kept indexes to a checked list, and its checksum.
- ingest: `repvit-sam ingest` without `--decode`.
- subset: 1 % of the photos, and its checksum.
- shard_plan: the items of one in eight shards, as one process of eight takes them.
- manifest: reading and checking it, keys that come twice, its checksum.
- loader: `ShardLoader` of rank 0 of 8, and its keys for 4,000 steps of 8 samples a rank; `worker_bytes` is what a forked
  process then takes of its own when it goes through every key of the manifest.

`peak_bytes` is the highest resident memory, `before_bytes` what the imports took of it; `cpu_seconds` are less disturbed by
what else the machine does than `seconds`.

Run: python -m benchmarks.sa1b_size [--json] [--scale S] [--folder FOLDER] [--part PART]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import shards
from shards.cache.files import to_line
from shards.cache.names import shard_name
from shards.pipeline.shard_plan import shard_count, shard_items
from shards.sources.kept_index import TarIndex, keep_index
from shards.sources.tar_index import Listing
from shards.sources.tars import TarSource

TARS, PHOTOS = 1000, 11_186  # of SA-1B
SHARD = 1000
PHOTO_BYTES, JSON_BYTES = 900_000, 40_000  # about SA-1B's
SHARD_BYTES = 1_200_000_000
RANKS, BATCH, STEPS = 8, 8, 4000
BLOCK = 512
SHA256 = "5a" * 32
IDENTITY = {
    "teacher": "sam_vit_h",
    "teacher_sha256": SHA256,
    "preprocess_version": "sam-antialias-1",
    "image_size": 1024,
    "codec": "int8",
    "codec_version": 1,
    "source": "sa1b:sa_000000.tar..sa_000999.tar",
}


def main() -> None:
    """Make the folder, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--scale", type=float, default=1.0, help="share of SA-1B's tars and shards")
    parser.add_argument("--folder", type=Path, help="keep what is made here, and use it again")
    parser.add_argument("--part", choices=PARTS, help="measure one part alone; it needs a --folder made before")
    options = parser.parse_args()
    if options.part:
        if options.folder is None:
            parser.error("--part needs the --folder of an earlier call")
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(options.folder or Path(folder), scale=options.scale)
    print(json.dumps(facts) if options.json else table(facts))


def measure(folder: Path, *, scale: float) -> dict[str, Any]:
    """Measure all parts.

    Returns:
        `photos`, `keys`, `manifest_bytes`, and for each part its `seconds`, `peak_bytes` and so on, and what it found.
    """
    tars, shards_made = max(1, round(scale * TARS)), max(RANKS, round(scale * PHOTOS))
    if not (folder / "cache" / "manifest.jsonl").exists():
        make_tars(folder, tars=tars)
        make_cache(folder / "cache", count=shards_made)
    parts = {}
    for part in PARTS:
        command = [sys.executable, "-m", "benchmarks.sa1b_size", "--part", part, "--folder", str(folder)]
        print(f"{part} ...", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        parts[part] = json.loads(done.stdout)
    size = (folder / "cache" / "manifest.jsonl").stat().st_size
    return {"photos": tars * PHOTOS, "keys": shards_made * SHARD, "manifest_bytes": size, "parts": parts}


def table(facts: dict[str, Any]) -> str:
    """Return the figures as a text table."""
    lines = [f"{facts['photos']} photos in tars; {facts['keys']} keys in a manifest of {facts['manifest_bytes'] / 1e6:.0f} MB"]
    lines.append(f"{'part':<12}{'seconds':>9}{'of CPU':>9}{'peak MB':>9}{'of it before':>14}  found")
    for name, part in facts["parts"].items():
        found = ", ".join(f"{key} {value}" for key, value in part.items() if key not in MEASURED)
        sizes = f"{part['peak_bytes'] / 1e6:>9.0f}{part['before_bytes'] / 1e6:>14.0f}"
        lines.append(f"{name:<12}{part['seconds']:>9.1f}{part['cpu_seconds']:>9.1f}{sizes}  {found}")
    return "\n".join(lines)


MEASURED = ("seconds", "cpu_seconds", "peak_bytes", "before_bytes")


def make_tars(folder: Path, *, tars: int) -> None:
    """Make the files of the tars, as holes, and their kept indexes."""
    (folder / "tars").mkdir(parents=True)
    for number in range(tars):
        first = 1 + number * PHOTOS
        index = TarIndex(names=[f"./sa_{photo}" for photo in range(first, first + PHOTOS)])
        end = 0
        for _ in range(PHOTOS):
            photo, end = end + BLOCK, _after(end, PHOTO_BYTES)
            annotations, end = end + BLOCK, _after(end, JSON_BYTES)
            index.spans += [photo, PHOTO_BYTES, annotations, JSON_BYTES]
        tar = folder / "tars" / f"sa_{number:06d}.tar"
        with tar.open("wb") as file:
            file.truncate(end + 2 * BLOCK)
        keep_index(index, tar, tar.stat(), folder=folder / "index")


def _after(offset: int, size: int) -> int:
    return offset + BLOCK + -(-size // BLOCK) * BLOCK


def make_cache(folder: Path, *, count: int) -> None:
    """Make a cache's manifest, and its shards as holes."""
    folder.mkdir(parents=True)
    for number in range(count):
        with (folder / shard_name(number)).open("wb") as file:
            file.truncate(SHARD_BYTES)
    identity = IDENTITY | {"source_sha256": SHA256, "samples_per_shard": SHARD, "shards": count}
    (folder / "cache.json").write_text(json.dumps(identity))
    with (folder / "manifest.jsonl").open("wb") as manifest:
        for number in range(count):
            keys = [f"sa_{photo}" for photo in range(1 + number * SHARD, 1 + (number + 1) * SHARD)]
            own = {"name": shard_name(number), "bytes": SHARD_BYTES, "sha256": f"{number:064x}", "keys": keys}
            manifest.write(to_line(IDENTITY | own | {"quarantined": [], "format": 1}))


def measured(part: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    """Add time and memory to what a part returns."""

    def run(folder: Path) -> dict[str, Any]:
        before, begin, cpu = peak_bytes(), time.perf_counter(), time.process_time()
        found = part(folder)
        times = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}
        sizes = {"peak_bytes": peak_bytes(), "before_bytes": before}
        return {name: round(value, 2) for name, value in times.items()} | sizes | found

    return run


def peak_bytes() -> int:
    """Return this program's highest resident memory; `ru_maxrss` would count its parent's too, from before it was started."""
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kib)


def private_bytes() -> int:
    """Return the memory of this process that it shares with no other."""
    return 1024 * sum(map(int, re.findall(r"Private_\w+:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text())))


def opened(folder: Path, *, subset: str | None = None) -> shards.Source:
    """Open the tars with their kept indexes."""
    return shards.open_source(folder / "tars", subset=subset, listing=Listing(folder=folder / "index"))


@measured
def listing(folder: Path) -> dict[str, Any]:
    """List the tars."""
    source = TarSource(sorted((folder / "tars").glob("*.tar")), listing=Listing(folder=folder / "index"))
    return {"photos": len(source.items()), "sha256": source.identity()[:8]}


@measured
def ingest(folder: Path) -> dict[str, Any]:
    """Plan without decoding."""
    with tempfile.TemporaryDirectory() as out:
        return {"plan": _short(asdict(shards.ingest(opened(folder), out=Path(out) / "plan", samples_per_shard=SHARD)))}


def _short(plan: dict[str, Any]) -> str:
    return f"{plan['shards']} shards, {plan['bytes'] / 1e12:.3g} TB, {plan['bad']} bad"


@measured
def subset(folder: Path) -> dict[str, Any]:
    """Choose 1 % of the photos."""
    source = opened(folder, subset="1%@seed=0")
    return {"photos": len(source.items()), "sha256": source.identity()[:8]}


@measured
def shard_plan(folder: Path) -> dict[str, Any]:
    """Take the items of one in eight shards."""
    source = opened(folder)
    begin = time.perf_counter()
    items = sum(len(shard_items(source, SHARD, index)) for index in range(0, shard_count(source, SHARD), RANKS))
    return {"items": items, "seconds_of_items": round(time.perf_counter() - begin, 2)}


@measured
def manifest(folder: Path) -> dict[str, Any]:
    """Read and check a manifest."""
    begin = time.perf_counter()
    read = shards.Manifest.read(folder / "cache")
    seconds = {"read_seconds": round(time.perf_counter() - begin, 2)}
    read.check_keys()
    return seconds | {"keys": read.samples, "sha256": read.sha256[:8]}


@measured
def loader(folder: Path) -> dict[str, Any]:
    """Order 4,000 steps, then go through all keys in a forked process."""
    before, begin = private_bytes(), time.perf_counter()
    made = shards.ShardLoader(folder / "cache", batch_size=BATCH, rank=0, world_size=RANKS)
    kept, opened_at = private_bytes() - before, time.perf_counter()
    keys = sum(len(made.keys(step)) for step in range(STEPS))
    seconds = {"open_seconds": opened_at - begin, "microseconds_a_step": (time.perf_counter() - opened_at) / STEPS * 1e6}
    rounded = {name: round(value, 1) for name, value in seconds.items()}
    return rounded | {"kept_bytes": kept, "keys": keys, "worker_bytes": bytes_of_a_worker(made.manifest)}


def bytes_of_a_worker(read: shards.Manifest) -> int:
    """Return what a forked process comes to have of its own when it goes through every key."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        before = private_bytes()
        count = sum(1 for entry in read.entries for _ in entry.keys)
        os.write(send, json.dumps([count, private_bytes() - before]).encode())
        os._exit(0)
    os.close(send)
    with open(receive, "rb") as answer:
        count, own = json.loads(answer.read())
    os.waitpid(child, 0)
    assert count == read.samples
    return int(own)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "listing": listing,
    "ingest": ingest,
    "subset": subset,
    "shard_plan": shard_plan,
    "manifest": manifest,
    "loader": loader,
}


if __name__ == "__main__":
    main()
