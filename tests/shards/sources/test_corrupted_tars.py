"""Tars damaged at random: no crash, no hang, and nothing bad in the cache."""

import io
import signal
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import shards
from encoders.errors import InputError
from tests.shards.helpers import standin
from tests.shards.helpers.checks import cached_names
from tests.shards.helpers.photos import pair, write_tar
from tests.shards.hostile.tars import resigned

PAIRS = 3
SECONDS = 60  # a tar that takes longer hangs


def flipped(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 60)):
        data[place] ^= 1 << int(rng.integers(8))


def header_rewritten(data: bytearray, rng: np.random.Generator, headers: list[int]) -> None:
    """Some bytes of a header, its checksum made right again, so that tarfile believes it."""
    at = int(rng.choice(headers))
    for place in rng.integers(0, 345, rng.integers(1, 12)):
        data[at + place] = rng.integers(256)
    if rng.random() < 0.5:  # another type: link, sparse, long name, PAX, global PAX …
        data[at + 156] = int(rng.choice(list(b"0123456789SLKxgXD\0")))
    data[at : at + 512] = resigned(bytes(data[at : at + 512]))


def text_rewritten(data: bytearray, rng: np.random.Generator, texts: list[tuple[int, int]]) -> None:
    """Digits and signs of a json, which stays one more often than not."""
    start, size = texts[int(rng.integers(len(texts)))]
    for place in rng.integers(start, start + size, rng.integers(1, 6)):
        data[place] = int(rng.choice(list(b'0123456789-.eE[]{}",:oPx')))


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(1, len(data))) :]


def spliced(data: bytearray, rng: np.random.Generator) -> None:
    """A piece is left out, doubled, moved, or zeroed; half of the time in whole blocks."""
    unit = 512 if rng.random() < 0.5 else 1
    start, end = sorted(int(place) * unit for place in rng.integers(0, len(data) // unit, 2))
    piece, target = bytes(data[start:end]), int(rng.integers(0, len(data) // unit)) * unit
    kind = rng.integers(4)
    if kind == 0:
        del data[start:end]
    elif kind == 1:
        data[target:target] = piece
    elif kind == 2:
        data[target : target + len(piece)] = piece
    else:
        data[start:end] = bytes(len(piece))


def corrupted(whole: bytes, *, seed: int) -> bytes:
    """A function of the seed alone."""
    rng = np.random.default_rng(seed)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = tar.getmembers()
    headers = [member.offset for member in members]
    texts = [(member.offset_data, member.size) for member in members if member.name.endswith(".json")]
    data = bytearray(whole)
    kind = seed % 5
    if kind == 0:
        flipped(data, rng)
    elif kind == 1:
        header_rewritten(data, rng, headers)
    elif kind == 2:
        text_rewritten(data, rng, texts)
    elif kind == 3:
        cut(data, rng)
    else:
        spliced(data, rng)
    return bytes(data)


def outcomes(folder: Path, seeds: range) -> Counter[str]:
    """Ingest and precompute every damaged tar; what is in the caches is checked photo by photo."""
    whole = write_tar(folder / "whole.tar", [member for n in range(PAIRS) for member in pair(n)]).read_bytes()
    teacher = standin.standin_teacher(image_size=64)
    count: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("hangs"))
    for seed in seeds:
        signal.alarm(SECONDS)
        place = folder / str(seed)
        place.mkdir()
        (place / "sa.tar").write_bytes(corrupted(whole, seed=seed))
        try:
            source = shards.open_source(place / "sa.tar")
            call = {"teacher": teacher, **standin.CALL, "max_bad_fraction": 1.0, "codec_gate": False}
            shards.precompute(source, out=place / "cache", **call)
        except InputError as error:
            count["refused"] += 1
            assert "sa.tar" in str(error), seed
            continue
        manifest = shards.Manifest.read(place / "cache")
        names = cached_names(manifest)
        assert len(names) + len(manifest.quarantined) == len(source.items()), seed
        assert all("sa.tar" in line["where"] for line in manifest.quarantined), seed
        count["cached"] += len(names)
        count["quarantined"] += len(manifest.quarantined)
        count["tars with bad photos"] += bool(manifest.quarantined)
    signal.alarm(0)
    return count


@pytest.mark.filterwarnings("ignore")  # PIL says what it skips
def test_forty_damaged_tars(tmp_path):
    count = outcomes(tmp_path, range(40))
    assert min(count["cached"], count["tars with bad photos"]) > 12, count


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_thousand_damaged_tars(tmp_path):
    """17 minutes were measured on 2 cores with a dozen processes more than they could take."""
    count = outcomes(tmp_path, range(1000, 3000))
    print(count)
    assert min(count["refused"], count["cached"], count["tars with bad photos"]) > 20, count
