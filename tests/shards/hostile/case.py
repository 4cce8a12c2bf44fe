"""What a hostile input is, and the table of docs/hostile_inputs.md."""

import io
import os
import tarfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from tests.shards.helpers.photos import jpeg, make_photo, pair

Outcome = Literal["quarantined", "kept", "left out", "refused"]
GOOD = ("sa_1", "sa_4")  # keys of the good photos beside each hostile one

MEANING = {
    "quarantined": "named in `quarantine.jsonl` with shard, key and reason, counted, bounded by `max_bad_fraction`, not in"
    " the cache",
    "kept": "a good photo after all: it is in the cache",
    "left out": "not listed, as it is no photo",
    "refused": "the whole source is refused before any work, exit code 2",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hostile input beside good photos.

    Attributes:
        name: what it is.
        outcome: what becomes of it.
        says: part of the reason that is given; for a kept photo what was done with it.
        build: makes the source in an empty folder, returns what to open.
        then: done to the folder after the listing, before anything is read.
        around: what the source is read within.
    """

    name: str
    outcome: Outcome
    says: str
    build: Callable[[Path], Any]
    then: Callable[[Path], object] = lambda folder: None
    around: Callable[[], AbstractContextManager[None]] = nullcontext


def table(groups: dict[str, Sequence[Case]]) -> str:
    """docs/hostile_inputs.md."""
    count = sum(map(len, groups.values()))
    lines = [
        "# Hostile inputs",
        "",
        f"What a source may hold, and what becomes of it: {count} inputs, each of them beside good photos in",
        "`tests/shards/test_hostile_inputs.py`, which runs all of them through `ingest` and `precompute` and keeps this table",
        "in step. The good photos are in the cache all the same, but for those behind the place where a tar is damaged.",
        "",
        *(f"- **{outcome}**: {meaning}." for outcome, meaning in MEANING.items()),
    ]
    for title, cases in groups.items():
        lines += ["", f"## {title}", "", "| input | outcome | what is said |", "| --- | --- | --- |"]
        lines += [f"| {case.name} | {case.outcome} | {case.says.replace('|', '&#124;')} |" for case in cases]
    return "\n".join(lines) + "\n"


Members = Sequence[tuple[str | tarfile.TarInfo, bytes]]


def tar_of(path: Path, members: Members, *, tar_format: int = tarfile.GNU_FORMAT) -> Path:
    """Members between two good pairs, as a tar. A member's name may be a whole header, whose size then holds."""
    (first, second) = (pair(1), pair(4))
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in [*first, *members, *second]:
            header = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def photo_in_tar(data: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """A source whose second pair has this photo and a json without annotations."""
    return pair_in_tar(photo=data, annotations=b'{"annotations": []}')


def json_in_tar(data: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """A source whose second pair has a good photo (50 x 120) and this json."""
    return pair_in_tar(photo=jpeg(make_photo(2)), annotations=data)


def pair_in_tar(*, photo: bytes | Callable[[], bytes], annotations: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        made = [data() if callable(data) else data for data in (photo, annotations)]
        return tar_of(folder / "sa.tar", [("sa_2.jpg", made[0]), ("sa_2.json", made[1])])

    return build


def folder_with(*makers: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A folder of the two good photos, and whatever the makers put there."""

    def build(folder: Path) -> Path:
        for key in GOOD:
            (folder / f"{key}.jpg").write_bytes(jpeg(make_photo(int(key[3:]))))
        for make in makers:
            make(folder)
        return folder

    return build


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@contextmanager
def as_nobody() -> Any:
    """Without root's right to read everything, where the tests run as root."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)
