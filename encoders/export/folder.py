"""The output folder of an export: written atomically, never over the user's own files, and listed with checksums."""

import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from encoders.errors import InputError, InputWarning
from encoders.export.certification.certificate import CERTIFICATE, FileRecord, is_export, read_certificate
from encoders.files import sha256_file, write_errors


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder to fill; it is renamed to `out` when the block succeeds, and deleted when it raises.

    With `overwrite`, the export that is in `out` stays there until the new one is complete.

    Raises:
        InputError: `out` must not be replaced, see `check_replaceable`, or cannot be written, for example on a full disk.
    """
    out = Path(os.path.abspath(out))
    check_replaceable(out, overwrite=overwrite)
    with staging_folder(out) as temporary:
        yield temporary
        check_replaceable(out, overwrite=overwrite)  # again: files may have been added while the export ran
        put_in_place({temporary: out})


def check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Check, before any work, that an export may be written to `out`.

    Raises:
        InputError: `out` is a symbolic link, a mount point, the current folder or a parent of it, or exists and is no export.
            Or it is an export, and `overwrite` is False, its certificate is damaged, or files were added to it.
    """
    out = Path(os.path.abspath(out))
    with write_errors(out):
        if out.is_symlink():
            raise InputError(f"{out} is a symbolic link; give the folder that it points to: {os.path.realpath(out)}")
        if os.path.ismount(out):
            raise InputError(f"{out} is a mount point, which cannot be replaced; give a folder inside it")
        if Path.cwd().is_relative_to(os.path.realpath(out)):
            raise InputError(
                f"{out} is the current folder or contains it, and an export replaces its whole output folder; "
                f"give a folder inside it, for example {out / 'exported'}"
            )
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
        if not is_export(out):
            raise InputError(f"{out} already exists and is not an export; choose another folder")
        if not overwrite:
            raise InputError(f"{out} holds an export already; choose another folder, or say --overwrite")
        if added := _added_files(out):
            raise InputError(
                f"{out} holds files that its certificate does not list, for example {added[0]}, and --overwrite would delete "
                "them; move them to another place, or choose another folder"
            )


def _added_files(export: Path) -> list[str]:
    """Return the files and links of an export, as relative paths, that its certificate does not list."""
    try:
        known = {*read_certificate(export).files, CERTIFICATE}
    except InputError as error:
        raise InputError(
            f"{error}. --overwrite does not replace an export without a readable certificate: delete {export} yourself, or "
            "choose another folder"
        ) from error
    files = (path for path in sorted(export.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [name for path in files if (name := path.relative_to(export).as_posix()) not in known]


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, to be filled before its content is renamed into place.

    It is deleted at the end of the block, and so are the parents that were made for it, as far as they are empty.

    Raises:
        InputError: a file cannot be written, see `write_errors`.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    made: list[Path] = []
    try:
        with write_errors(target):
            made += [parent for parent in temporary.parents if not parent.exists()]
            temporary.mkdir(parents=True)
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it holds what was made, or something else
                parent.rmdir()


def put_in_place(targets: Mapping[Path, Path]) -> None:
    """Rename each key of `targets` to its value, all or none, then delete what the values replaced.

    Raises:
        OSError: a rename failed; what was at the values before is there again.
        InputError: a rename failed, and what was at a value before could not be put back; the message says where it is.

    Warns:
        InputWarning: all is in place, but what was there before could not be deleted.
    """
    previous = {target: target.with_name(f".{target.name}.{secrets.token_hex(8)}.old") for target in targets.values()}
    with ExitStack() as undo:
        for new, target in targets.items():
            undo.callback(_put_back, new, target, previous=previous[target])
            if os.path.lexists(target):
                target.rename(previous[target])
            new.rename(target)
        undo.pop_all()
    for old in previous.values():
        _delete(old)


def _put_back(new: Path, target: Path, *, previous: Path) -> None:
    try:
        if not os.path.lexists(new):
            target.rename(new)
        if os.path.lexists(previous):
            previous.rename(target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written, and its previous content cannot be put back ({error.strerror}); it is in "
            f"{previous}: rename that yourself"
        ) from error


def _delete(old: Path) -> None:
    try:
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    except OSError as error:
        message = f"{old}, which was replaced, could not be deleted ({error.strerror}); delete it yourself"
        warnings.warn(message, InputWarning, stacklevel=3)


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Return size and checksum of each file by its path relative to `folder`, except the certificate."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
        for name, path in files.items()
        if name != CERTIFICATE
    }
