"""SA-1B tars as a source, read in place: one pass over the headers, then each member by its offset. Never unpacked."""

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.image import decode_image
from shards.annotations import normalize_annotations
from shards.source import PHOTO_SUFFIXES, Item, Photo, Source, safe_key

Span = tuple[int, int]  # offset and size of a member's data, bytes


@dataclass
class Pair:
    """What a tar holds under one name."""

    name: str
    photo: Span | None = None
    annotations: Span | None = None
    problem: str | None = None


class TarSource(Source):
    """Tars of `NAME.jpg` and `NAME.json` (SA-1B's format), in order of tar name and, within a tar, of offset.

    The two members of a pair may come in any order. A tar without any json is a tar of photos without annotations; in
    a tar with json, a photo without one is a broken pair.

    Args:
        tars: paths; read in order of their names.

    Raises:
        InputError: a tar is missing or is none, or all of them together hold no photo.
    """

    def __init__(self, tars: Sequence[Path | str]) -> None:
        self.tars = sorted((Path(tar) for tar in tars), key=lambda tar: (tar.name, str(tar)))
        names = self.tars[0].name if len(self.tars) == 1 else f"{self.tars[0].name}..{self.tars[-1].name}"
        self.name = f"sa1b:{names}"
        if not any(item.problem is None for item in self.items()):
            problems = "; ".join(f"{item.where}: {item.problem}" for item in self.items()[:3])
            raise InputError(
                f"{', '.join(str(tar) for tar in self.tars[:3])}: no photo found; expected members NAME.jpg and"
                f" NAME.json as in SA-1B{f' ({problems})' if problems else ''}"
            )

    def list_items(self) -> list[Item]:
        """Key: the member's base name without its suffix, made safe."""
        return [item for index, tar in enumerate(self.tars) for item in _tar_items(tar, index)]

    def read_photo(self, item: Item) -> Photo:
        """Read one pair by its offsets."""
        index, photo, annotations = item.locator
        with self.tars[index].open("rb") as file:
            image = decode_image(_read(file.fileno(), photo, item.where), name=item.where)
            raw = None if annotations is None else _read(file.fileno(), annotations, item.where)
        record = {} if raw is None else parse_annotations(raw, where=item.where)
        shape = (image.shape[0], image.shape[1])
        facts = record.get("image")
        facts = facts if isinstance(facts, dict) else {}
        return Photo(
            key=item.key,
            image=image,
            annotations=normalize_annotations(record.get("annotations", []), shape=shape, where=item.where),
            meta={"source": self.name, "file_name": item.where}
            | {name: facts[name] for name in ("image_id", "license") if name in facts},
        )


def parse_annotations(data: bytes, *, where: str) -> dict[str, Any]:
    """Bytes of an SA-1B json -> its object. Raises InputError where it is no json or has another structure."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its json cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("annotations"), list):
        raise InputError(f"{where}: its json has no list of 'annotations'; expected SA-1B's format")
    return record


def _tar_items(tar: Path, index: int) -> Iterator[Item]:
    pairs: dict[str, Pair] = {}
    repeated: list[Pair] = []
    ending = _collect(tar, pairs, repeated)
    annotated = any(pair.annotations for pair in pairs.values())
    for pair in sorted([*pairs.values(), *repeated], key=lambda pair: (min(_offsets(pair)), pair.name)):
        problem = pair.problem
        if problem is None and pair.photo is None:
            problem = "a json without its photo"
        elif problem is None and annotated and pair.annotations is None:
            problem = "a photo without its json"
        where = f"{tar.name}/{pair.name}"
        yield Item(safe_key(Path(pair.name).name), where, (index, pair.photo, pair.annotations), problem)
    if ending is not None:
        yield Item(safe_key(f"{tar.stem}-end"), tar.name, (index, None, None), ending)


def _collect(tar: Path, pairs: dict[str, Pair], repeated: list[Pair]) -> str | None:
    """Fill `pairs` from a tar's headers; say what is wrong with the tar's end, if anything."""
    if not tar.is_file():
        raise InputError(f"{tar} does not exist; expected an SA-1B tar")
    size = tar.stat().st_size
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if not member.isdir():
                    _add(member, pairs, repeated, tar_size=size)
            end = archive.offset
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        if not pairs:
            raise InputError(f"{tar} is no readable tar ({type(error).__name__}: {error})") from error
        return f"the tar cannot be read to its end ({type(error).__name__}: {error})"
    return _check_end(tar, end)


def _check_end(tar: Path, offset: int) -> str | None:
    """tarfile takes a damaged header, or the end of the file, for the end of the tar; a whole tar ends in zeros."""
    with tar.open("rb") as file:
        block = os.pread(file.fileno(), tarfile.BLOCKSIZE, offset)
    if len(block) < tarfile.BLOCKSIZE:
        return "the tar has no end mark; it was cut off, and photos may be missing"
    return f"damaged header at byte {offset}; what follows cannot be read" if any(block) else None


def _add(member: tarfile.TarInfo, pairs: dict[str, Pair], repeated: list[Pair], *, tar_size: int) -> None:
    stem, suffix = os.path.splitext(member.name)
    suffix = suffix.lower()
    if suffix not in (*PHOTO_SUFFIXES, ".json") or os.path.basename(stem).startswith("."):
        return
    span = (member.offset_data, member.size)
    slot = "annotations" if suffix == ".json" else "photo"
    pair = pairs.setdefault(stem, Pair(stem))
    if getattr(pair, slot) is not None:
        repeated.append(Pair(stem, **{slot: span}, problem=f"a second {suffix[1:]} of this name in one tar"))
        return
    setattr(pair, slot, span)
    if not member.isreg() or member.issparse():
        pair.problem = f"{member.name} is a link or special file"
    elif member.name.startswith("/") or ".." in Path(member.name).parts:
        pair.problem = f"{member.name!r} leads out of the tar"
    elif member.offset_data + member.size > tar_size:
        pair.problem = f"{member.name} is cut off at the end of the tar"


def _offsets(pair: Pair) -> list[int]:
    return [span[0] for span in (pair.photo, pair.annotations) if span is not None]


def _read(descriptor: int, span: Span, where: str) -> bytes:
    offset, size = span
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise InputError(f"{where}: {len(data)} of {size} bytes could be read; the tar was changed or cut off")
    return data
