"""How the clients of object stores are opened by fsspec, and what their errors mean."""

from typing import Any

from encoders.errors import InputError, MissingExtra
from shards.stores.messages import reason_of, without_credentials


def opened(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path of its folder there. Raises as `objects.open_objects` does."""
    shown = without_credentials(url)
    if url.startswith(("http://", "https://")):
        raise InputError(f"{shown} can be read but not written; expected a URL of an object store, like s3://bucket/folder")
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", extra="remote") from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{shown} needs another package: {error}, beside repvit-sam[remote]") from error
    except ValueError as error:
        raise InputError(f"{shown} cannot be used: {reason_of(error)}; expected a URL like s3://bucket/folder") from error
    root = str(path).rstrip("/")
    if not root.strip("/"):
        raise InputError(f"{shown} names no folder; expected a URL like s3://bucket/folder")
    return filesystem, root


def has_buckets(filesystem: Any) -> bool:
    """Return whether a store has no folders, only buckets, which are not made here."""
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)
    return bool({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "oci", "memory"} & set(protocols))
