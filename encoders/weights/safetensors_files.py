"""Reading of any safetensors file, and writing with a checksum and reproducible bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.weights.checks import content_digest, short

CHECKSUM = "content_sha256"  # key of the metadata
LENGTH_BYTES = 8  # a file begins with the length of its header, little endian


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], bool]:
    """Read a file's tensors and metadata; the last value tells whether it has a checksum, which has then been verified.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # what is damaged may fail in any way: SafetensorError, and others for dtypes unknown to torch
        raise InputError(f"{path} is damaged: {short(error)}; copy it again") from error
    expected = metadata.pop(CHECKSUM, None)
    if expected is None:
        return tensors, metadata, False
    found = content_digest(tensors, metadata)
    if found != expected:
        raise InputError(
            f"{path} is damaged: its content has the sha256 {found}, and {short(expected)} when it was written; copy it again"
        )
    return tensors, metadata, True


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> None:
    """Write contiguous CPU tensors and facts about them, with a checksum of both; equal arguments give equal bytes.

    Raises:
        InputError: the file cannot be written.
    """
    facts = dict(metadata)
    facts[CHECKSUM] = content_digest(tensors, {key: value for key, value in facts.items() if key != CHECKSUM})
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask says; safetensors lets the owner alone read its files
        try:
            save_file(dict(tensors), temporary, metadata=facts)
        except SafetensorError as error:  # how it reports a full disk, too
            raise InputError(f"{path} cannot be written ({error}); choose another place") from error
        _sort_metadata(temporary)
        temporary.chmod(mode)


def _sort_metadata(path: Path) -> None:
    """Put a file's metadata in alphabetical order, in place: safetensors writes them in a random one."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length  # only the order has changed
        file.seek(LENGTH_BYTES)
        file.write(text.ljust(length))
