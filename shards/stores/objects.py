"""Object stores by fsspec: s3://, gs://, abfs://, memory:// and whatever else has a package for it."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from encoders.errors import InputError
from encoders.files import sha256_file
from shards.stores import retry as retrying
from shards.stores.base import ObjectStore
from shards.stores.checksums import sha256_of, vouched
from shards.stores.client import has_buckets, opened
from shards.stores.folder import FolderObjects
from shards.stores.messages import without_credentials
from shards.stores.persistence import persist
from shards.stores.retried import RetriedFile
from shards.stores.retry import Retry, join_url

VERSIONS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")
READ_BLOCK_BYTES = 2**18  # asked for at a time by `open`
LOCAL = ("file://", "local://")
Result = TypeVar("Result")


def open_objects(url: str, *, retry: Retry | None = None) -> ObjectStore:
    """Return the store of the folder at a URL; nothing is read or written.

    Raises:
        InputError: the protocol is unknown, can only be read (http), or needs a package that is not installed.
        MissingExtra: fsspec is not installed.
    """
    if url.startswith(LOCAL):
        return FolderObjects(Path(url.partition("://")[2]))
    return FsspecObjects(url, retry=retry)


class _Differs(Exception):
    """What the store has is not what was written."""


class FsspecObjects:
    """Files under a prefix of an object store; see `shards.stores.base.ObjectStore`.

    Where the store can, `create` and `upload(replace=False)` write only if there is no such file, in one step (S3's
    If-None-Match, memory://). Elsewhere it is looked up first, and of two processes that write at once the last one counts.

    Args:
        url: of the folder; credentials are the client's matter (environment, configuration files).
        retry: how often a failing call is repeated; the default is `shards.stores.retry.DEFAULT_RETRY`.
    """

    def __init__(self, url: str, *, retry: Retry | None = None) -> None:
        self.url = without_credentials(url.rstrip("/"))
        self._retry = retry or retrying.DEFAULT_RETRY
        self._atomic = True  # until the store says that it cannot
        self._url = url
        self._client: tuple[int, Any] | None = None
        self._root = opened(url)[1]

    @property
    def _filesystem(self) -> Any:
        """This process's client: those of s3fs and the like do not survive a fork."""
        if self._client is None or self._client[0] != os.getpid():
            self._client = os.getpid(), opened(self._url)[0]
        return self._client[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}

    def where(self, name: str) -> str:
        return join_url(self.url, name)

    def size(self, name: str) -> int | None:
        info = self._info(name)
        return None if info is None else int(info["size"])

    def facts(self, name: str) -> tuple[int, int]:
        info = self._info(name)
        if info is None:
            raise FileNotFoundError(2, "No such file", self.where(name))
        written = next((info[key] for key in VERSIONS if info.get(key)), "")
        return int(info["size"]), int.from_bytes(hashlib.sha256(str(written).encode()).digest()[:7], "little")

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        def once() -> bytes | None:
            try:
                size = self._fresh_info(name)["size"]
                if size > max_bytes:
                    raise InputError(f"{self.where(name)} has {size} bytes; at most {max_bytes} are read")
                content = bytes(self._filesystem.cat_file(self._path(name)))
            except FileNotFoundError:
                return None
            if len(content) > max_bytes:
                raise InputError(f"{self.where(name)} has {len(content)} bytes; at most {max_bytes} are read")
            return content

        return self._tried("read", name, once)

    def read_range(self, name: str, *, start: int, size: int) -> bytes:
        path = self._path(name)
        return self._tried("read", name, lambda: bytes(self._filesystem.cat_file(path, start=start, end=start + size)))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        path = self._path(name)
        file = self._tried(
            "opened",
            name,
            lambda: self._filesystem.open(path, "rb", block_size=READ_BLOCK_BYTES, cache_type="readahead"),
        )
        with file:
            yield cast(BinaryIO, RetriedFile(file, lambda action: self._tried("read", name, action)))

    def list(self, folder: str = "") -> dict[str, int]:
        place = f"{self._root}/{folder}" if folder else self._root
        return self._listed(lambda: self._filesystem.ls(place, detail=True), folder)

    def list_all(self) -> dict[str, int]:
        return self._listed(lambda: list(self._filesystem.find(self._root, detail=True).values()), "")

    def put(self, name: str, content: bytes) -> None:
        path = self._path(name)

        def once() -> None:
            self._make_parent(path)
            self._filesystem.pipe_file(path, content)
            self._check(name, content)

        self._tried("written", name, once, missing_is_final=True)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        tries = 0

        def once() -> bool:
            nonlocal tries
            tries += 1
            self._make_parent(path)
            try:
                self._exclusively(path, lambda mode: self._filesystem.pipe_file(path, content, **mode))
            except FileExistsError:
                # After a try whose answer was lost, the file may be ours, whole or not
                there = self._content(name)
                if tries > 1 and there != content and content.startswith(there):
                    self._filesystem.pipe_file(path, content)
                return tries > 1 and content.startswith(there)
            self._check(name, content)
            return True

        return self._tried("written", name, once, missing_is_final=True)

    def upload(self, name: str, path: Path, *, replace: bool = True) -> bool:
        target = self._path(name)
        overwrite = replace

        def once() -> bool:
            nonlocal overwrite
            size = path.stat().st_size  # FileNotFoundError is the caller's
            self._make_parent(target)
            try:
                if overwrite:
                    self._filesystem.put_file(str(path), target)
                else:
                    self._exclusively(target, lambda mode: self._filesystem.put_file(str(path), target, **mode))
            except FileExistsError:
                return self._is_same(name, path)
            if not self._is_same(name, path):
                overwrite = True  # what is there is this call's
                raise _Differs(f"what is there is not the {size} bytes that were sent")
            return True

        return self._tried("written", name, once, missing_is_final=path.exists())

    def same(self, name: str, path: Path) -> bool:
        return self._tried("read", name, lambda: self._is_same(name, path))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._tried("removed", name, partial(self._remove, self._path(name)))

    def _content(self, name: str) -> bytes:
        """Read a file whole; with tries of its own, so that a lost answer does not make it be written again."""
        return self._tried("read", name, lambda: bytes(self._filesystem.cat_file(self._path(name))))

    def _check(self, name: str, content: bytes) -> None:
        if self._content(name) != content:
            raise _Differs("what is read back is not what was written")

    def _is_same(self, name: str, path: Path) -> bool:
        try:
            info = self._fresh_info(name)
        except FileNotFoundError:
            return False
        if int(info["size"]) != path.stat().st_size:
            return False
        if vouched(info, path):
            return True
        with self._filesystem.open(self._path(name), "rb", cache_type="readahead") as file:
            return sha256_of(file) == sha256_file(path)

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.rm_file(path)

    def _info(self, name: str) -> dict[str, Any] | None:
        def once() -> dict[str, Any] | None:
            try:
                info = self._fresh_info(name)
            except FileNotFoundError:
                return None
            return info if info["type"] == "file" else None

        return self._tried("looked up", name, once)

    def _fresh_info(self, name: str) -> dict[str, Any]:
        self._filesystem.invalidate_cache()
        return dict(self._filesystem.info(self._path(name)))

    def _listed(self, find: Callable[[], Iterable[dict[str, Any]]], name: str) -> dict[str, int]:
        def once() -> dict[str, int]:
            self._filesystem.invalidate_cache()
            try:
                found = list(find())
            except FileNotFoundError:
                return {}
            start = f"{self._root.strip('/')}/"
            files = ((str(info["name"]).strip("/"), info) for info in found if info["type"] == "file")
            return {path[len(start) :]: int(info["size"]) for path, info in files if path.startswith(start)}

        return self._tried("listed", name, once)

    def _exclusively(self, path: str, write: Callable[[dict[str, Any]], object]) -> None:
        """Write a file that must not be there. Raises FileExistsError if it is."""
        if self._atomic:
            try:
                write({"mode": "create"})
                return
            except Exception as error:
                if not isinstance(error, NotImplementedError | TypeError) and "NotImplemented" not in str(error):
                    raise
                self._atomic = False
        self._filesystem.invalidate_cache()
        if self._filesystem.exists(path):
            raise FileExistsError(path)
        write({})

    def _make_parent(self, path: str) -> None:
        """Make the folder of a file where the store has folders; object stores have none, and buckets are not made."""
        if not has_buckets(self._filesystem):
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, what: str, name: str, action: Callable[[], Result], *, missing_is_final: bool = False) -> Result:
        subject = f"{self.where(name)} cannot be {what}"
        return persist(action, subject=subject, retry=self._retry, missing_is_final=missing_is_final)
