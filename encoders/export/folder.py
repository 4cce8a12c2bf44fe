"""The folder of an export: made whole or not at all, and listed with checksums."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import InputError
from encoders.export.certificate import CERTIFICATE, FileRecord, is_export
from encoders.files import sha256_file

FULL_BYTES = 2**20  # free on a disk that is called full


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `out` to fill, which becomes `out` when the block ends well, and is gone otherwise.

    Raises:
        InputError: `out` is there already, or it cannot be written, as on a full disk.
    """
    if out.exists():
        ours = is_export(out) or (out.is_dir() and not any(out.iterdir()))
        if not ours:
            raise InputError(f"{out} is there already and is no export; choose another folder")
        if not overwrite and any(out.iterdir()):
            raise InputError(f"{out} holds an export already; choose another folder, or say --overwrite")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    except Exception as error:
        # The formats' packages write by themselves, and each calls a full disk an error of its own.
        if isinstance(error, InputError) or not (isinstance(error, OSError) or _free_bytes(out) < FULL_BYTES):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        free = f"{_free_bytes(out) / 2**20:.0f} MiB free"
        raise InputError(f"{out} cannot be written ({reason}, {free}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _free_bytes(out: Path) -> int:
    place = next(parent for parent in (out, *out.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(place).free


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Size and checksum of every file but the certificate, by path inside the folder."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CERTIFICATE
    }
