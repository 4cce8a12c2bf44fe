"""Hostile tars."""

import gzip
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.shards.helpers.photos import cut_end_mark, jpeg, make_photo, pair, sa1b_json
from tests.shards.hostile.case import Case, tar_of

PHOTO, JSON = jpeg(make_photo(2)), sa1b_json(2)


def header(name: str, kind: bytes, *, link: str = "", size: int = 0, pax: dict[str, str] | None = None) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.pax_headers = kind, link, size, pax or {}
    return info


def special(name: str, kind: bytes, link: str = "") -> Callable[[Path], Path]:
    return lambda folder: tar_of(folder / "sa.tar", [(header(name, kind, link=link), b""), ("sa_2.json", JSON)])


def named(stem: str) -> Callable[[Path], Path]:
    return lambda folder: tar_of(folder / "sa.tar", [(f"{stem}.jpg", PHOTO), (f"{stem}.json", JSON)])


def resigned(block: bytes) -> bytes:
    """A header block with its right checksum."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def with_header_bytes(change: Callable[[bytes], bytes], *, sign: bool = True) -> Callable[[Path], Path]:
    """The header of sa_2.jpg, changed, its checksum made right again."""

    def build(folder: Path) -> Path:
        path = tar_of(folder / "sa.tar", [("sa_2.jpg", PHOTO), ("sa_2.json", JSON)])
        with tarfile.open(path) as tar:
            at = tar.getmember("sa_2.jpg").offset
        data = path.read_bytes()
        block = change(data[at : at + 512])
        path.write_bytes(data[:at] + (resigned(block) if sign else block) + data[at + 512 :])
        return path

    return build


def size_field(value: int) -> Callable[[bytes], bytes]:
    """GNU's base-256 size: a first byte of 0x80, or 0xff for negative numbers, then 11 bytes big-endian."""
    lead = b"\x80" if value >= 0 else b"\xff"
    return lambda block: block[:124] + lead + (value % 2**88).to_bytes(11, "big") + block[136:]


def raw_members(*parts: bytes) -> Callable[[Path], Path]:
    """Raw blocks between the good pairs."""

    def build(folder: Path) -> Path:
        first, last = (tar_bytes(pair(number)) for number in (1, 4))
        blocks = b"".join(part + bytes(-len(part) % 512) for part in parts)
        (folder / "sa.tar").write_bytes(first + blocks + last + bytes(1024))
        return folder / "sa.tar"

    return build


def tar_bytes(members: list[tuple[str, bytes]]) -> bytes:
    """Headers and data of members, without the end of a tar."""
    out = b""
    for name, data in members:
        out += header(name, tarfile.REGTYPE, size=len(data)).tobuf() + data + bytes(-len(data) % 512)
    return out


def pax(records: bytes, *, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    return header("pax", kind, size=len(records) if size is None else size).tobuf() + records + bytes(-len(records) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """A PAX record: its own length, key, value."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def sparse_without_end() -> list[bytes]:
    """GNU sparse 1.0: the map of holes is text before the data; this one has no newline and no end."""
    records = b"".join(
        record(key, value)
        for key, value in [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"sa_2.jpg"),
            (b"GNU.sparse.realsize", b"1000000000000"),
        ]
    )
    return [pax(records), header("sa_2.jpg", tarfile.REGTYPE, size=1 << 20).tobuf() + b"99\n".ljust(1 << 20, b"1")]


def old_sparse() -> list[bytes]:
    block = bytearray(header("sa_2.jpg", tarfile.GNUTYPE_SPARSE, size=len(PHOTO)).tobuf())
    block[386:410] = b"%011o\0%011o\0" % (0, len(PHOTO))
    block[483:495] = b"%011o\0" % 10**9
    return [resigned(bytes(block)) + PHOTO, tar_bytes([("sa_2.json", JSON)])]


def long_names(count: int) -> list[bytes]:
    """Long-name headers, each for the next, without a member."""
    return [header("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=5).tobuf() + b"name\0"] * count


def cut(place: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = tar_of(folder / "sa.tar", pair(2))
        if place == "end mark":
            cut_end_mark(path)
            return path
        with tarfile.open(path) as tar:
            last = tar.getmember("./sa_4.json" if place == "json" else "./sa_4.jpg")
        path.write_bytes(path.read_bytes()[: last.offset + 100 if place == "header" else last.offset_data + 100])
        return path

    return build


def whole_file(content: bytes, name: str = "sa.tar") -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def good_tar() -> bytes:
    return tar_bytes([*pair(1), *pair(4)]) + bytes(1024)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "sa.tar")
    return folder / "sa.tar"


def xz(folder: Path) -> Path:
    import lzma

    return whole_file(lzma.compress(good_tar()))(folder)


def bad(name: str, says: str, build: Callable[[Path], Path]) -> Case:
    return Case(name=name, outcome="quarantined", says=says, build=build)


def refused(name: str, says: str, build: Callable[[Path], Path]) -> Case:
    return Case(name=name, outcome="refused", says=says, build=build)


def inner_tar(folder: Path) -> Path:
    return tar_of(folder / "sa.tar", [("inner.tar", good_tar())])


CASES = [
    bad("a member whose name climbs out (../sa_2.jpg)", "leads out of the tar", named("../sa_2")),
    bad("a member whose name climbs out on the way (a/../../sa_2.jpg)", "leads out of the tar", named("a/../../sa_2")),
    bad("a member with an absolute name", "leads out of the tar", named("/etc/sa_2")),
    bad("a symbolic link to /etc/passwd", "is a link or special file", special("sa_2.jpg", tarfile.SYMTYPE, "/etc/passwd")),
    bad("a hard link to another member", "is a link or special file", special("sa_2.jpg", tarfile.LNKTYPE, "./sa_1.jpg")),
    bad("a device as a member", "is a link or special file", special("sa_2.jpg", tarfile.CHRTYPE)),
    bad("a pipe as a member", "is a link or special file", special("sa_2.jpg", tarfile.FIFOTYPE)),
    bad("a sparse member (old GNU)", "is a link or special file", raw_members(*old_sparse())),
    bad("a sparse member whose map never ends (GNU 1.0)", "cannot be read to its end", raw_members(*sparse_without_end())),
    bad(
        "a second photo of one name",
        "a second jpg of this name",
        lambda folder: tar_of(folder / "sa.tar", [*pair(2), ("./sa_2.jpg", PHOTO)]),
    ),
    bad(
        "a key that came before in another folder of the tar",
        "duplicate key 'sa_1', first seen in sa.tar/./sa_1",
        named("sub/sa_1"),
    ),
    bad(
        "a photo without its json", "a photo without its json", lambda folder: tar_of(folder / "sa.tar", [("sa_2.jpg", PHOTO)])
    ),
    bad(
        "a json without its photo", "a json without its photo", lambda folder: tar_of(folder / "sa.tar", [("sa_2.json", JSON)])
    ),
    bad("a tar cut off in a json", "is cut off at the end of the tar", cut("json")),
    bad("a tar cut off in a header", "it was cut off", cut("header")),
    bad("a tar without its end mark", "it was cut off", cut("end mark")),
    bad("a header with a wrong checksum", "damaged header at byte", with_header_bytes(lambda b: b"X" + b[1:], sign=False)),
    bad("a member of -512 bytes, which leads back to its own header", "leads backwards", with_header_bytes(size_field(-512))),
    bad("a member of -1 TB", "cannot be read to its end", with_header_bytes(size_field(-(10**12)))),
    bad("a member of 2^80 bytes", "cannot be read to its end", with_header_bytes(size_field(2**80))),
    bad("a member of 8 GB in a tar of 40 KB", "states 8000000000 bytes", with_header_bytes(size_field(8 * 10**9))),
    bad("a PAX header that states 8 GB", "a header of 8000000000 bytes", raw_members(pax(b"", size=8 * 10**9))),
    bad(
        "a PAX record whose size is negative",
        "states -512 bytes",
        raw_members(pax(record(b"size", b"-512")), tar_bytes([("sa_2.jpg", PHOTO)])),
    ),
    bad("a PAX record whose length is 0", "damaged header at byte", raw_members(pax(b"0 size=1\n"), tar_bytes(pair(2)))),
    bad(
        "a PAX record that makes a photo of 10^300 bytes",
        "cannot be read to its end",
        raw_members(pax(record(b"size", b"1" + b"0" * 300)), tar_bytes([("sa_2.jpg", PHOTO)])),
    ),
    bad(
        "300 global PAX records",
        "global PAX records",
        raw_members(pax(b"".join(record(b"k%d" % n, b"v") for n in range(300)), kind=tarfile.XGLTYPE), tar_bytes(pair(2))),
    ),
    bad("2,000 long-name headers in a row", "cannot be read to its end", raw_members(*long_names(2000))),
    Case(name="names that are no UTF-8", outcome="kept", says="shown with escapes, e.g. b\\udcff", build=named("b\udcff")),
    Case(
        name="names with line breaks and terminal codes", outcome="kept", says="shown with escapes", build=named("b\n\x1b[31m")
    ),
    Case(name="a name of 3,000 characters", outcome="kept", says="its key ends in a hash", build=named("b" * 3000)),
    Case(name="a tar in the tar", outcome="left out", says="counted as another member", build=inner_tar),
    Case(name="macOS's hidden twins (._sa_2.jpg)", outcome="left out", says="hidden", build=named("._sa_2")),
    refused(
        "a tar packed with gzip but named .tar",
        "compressed with gzip: unpack it with gunzip",
        lambda folder: whole_file(gzip.compress(good_tar()))(folder),
    ),
    refused("a tar packed with xz but named .tar", "is no readable tar", xz),
    refused("a file of zero bytes named .tar", "is no readable tar (ReadError: empty file)", whole_file(b"")),
    refused("an HTML page named .tar", "is no readable tar", whole_file(b"<html>" * 500)),
    refused("a tar of zeros", "no photo found", whole_file(bytes(10240))),
    refused("a tar without a photo", "no photo found", whole_file(tar_bytes([("readme.txt", b"hello")]) + bytes(1024))),
    refused("a pipe named .tar", "is a pipe; expected an SA-1B tar", pipe),
]
