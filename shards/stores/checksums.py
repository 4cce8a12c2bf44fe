"""Checksums that object stores keep of their files, compared with a local file."""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

BLOCK_BYTES = 1 << 20
PART_BYTES = 50 * 2**20  # of uploads in several parts, see `shards.stores.objects`
_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")


def vouched(info: Mapping[str, Any], path: Path) -> bool:
    """Return whether a checksum that the store states is that of a local file.

    False says nothing: many stores state none, or one of something else (an ETag of encrypted bytes); then the file has to be
    read back. Understood are an S3 ETag that is an MD5 (also of an upload in parts of PART_BYTES) and the MD5 of Google's and
    Azure's stores.
    """
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"').lower()
    if _MD5.fullmatch(etag):
        return etag == (_md5_of_parts(path) if "-" in etag else _md5(path))
    settings = info.get("content_settings")
    stated = info.get("md5Hash") or (settings.get("content_md5") if isinstance(settings, Mapping) else None)
    if isinstance(stated, bytes | bytearray):
        return bytes(stated) == bytes.fromhex(_md5(path))
    return isinstance(stated, str) and stated == base64.b64encode(bytes.fromhex(_md5(path))).decode()


def sha256_of(file: IO[bytes]) -> str:
    """Return the sha256 of what is left to read of a file, in hex."""
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _md5_of_parts(path: Path) -> str:
    """Return the ETag that S3 gives to an upload in parts: the MD5 of the parts' MD5s, and their number."""
    digests = []
    with path.open("rb") as file:
        while True:
            part, left = hashlib.md5(usedforsecurity=False), PART_BYTES
            while left and (block := file.read(min(BLOCK_BYTES, left))):
                part.update(block)
                left -= len(block)
            if left == PART_BYTES:
                break
            digests.append(part.digest())
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"
