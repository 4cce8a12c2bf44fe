"""Safe reading of PyTorch files, without running pickled code, and verification as far as the format allows."""

import argparse
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.weights.checks import short

FOLDER_BIT = 0x10  # of an entry's attributes, as DOS has them
_WRAPPERS = ("model", "state_dict")  # keys under which training scripts put the weights
_PARALLEL = "module."  # before every name in the state dict of torch's DistributedDataParallel


def read_torch(path: Path, *, zipped: bool) -> dict[str, Tensor]:
    """Read the state dict from a `torch.save` file, at top level or under `model` or `state_dict`, with or
    without `module.` before every name.

    Args:
        zipped: the file is a zip archive, whose checksums are verified, as torch does not; otherwise it is the bare pickle of
            PyTorch before 1.6, which has none.

    Raises:
        InputError: the file is damaged, would run code when read, or holds something else.
    """
    if zipped:
        check_archive(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values: RepViT's script saves its own
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what, remedy = "holds more than tensors", "save its state dict alone"
        if not zipped:
            what, remedy = f"is damaged or {what}", f"copy it again, or {remedy}"
        raise InputError(
            f"{path} {what} and is not read, since that could run its code ({_reason(error)}); {remedy}"
        ) from error
    except Exception as error:  # pickles of damaged bytes fail in any way: IndexError, AttributeError, UnicodeError, ...
        if zipped:  # its checksums are right
            raise InputError(f"{path} is no PyTorch checkpoint: {_reason(error)}; give a file with a state dict") from error
        raise InputError(f"{path} is damaged: {_reason(error)}; copy it again") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(map(_is_named_tensor, content.items())):
        raise InputError(f"{path} is not a checkpoint: expected a dict of named tensors, it holds {_kind(content)}")
    if all(key.startswith(_PARALLEL) for key in content):
        return {key.removeprefix(_PARALLEL): tensor for key, tensor in content.items()}
    return dict(content)


def check_archive(path: Path) -> None:
    """Compare every entry of a zip archive with its checksum.

    Raises:
        InputError: they differ, or the archive cannot be read, or it is none as `torch.save` writes them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            foreign = [entry.filename for entry in archive.infolist() if not _is_from_torch(entry)]
            wrong = None if foreign else archive.testzip()
    except Exception as error:  # damaged archives fail in any way: BadZipFile, NotImplementedError, struct.error, ...
        raise InputError(f"{path} is damaged: {_reason(error)}; copy it again") from error
    if foreign:
        raise InputError(
            f"{path} is damaged, or torch.save did not write it: {short(foreign[0])} is compressed or a folder; give a file "
            "that torch.save made of a state dict"
        )
    if wrong is not None:
        raise InputError(
            f"{path} is damaged: {short(wrong)} differs from its checksum; copy it again (if torch.save wrote it without "
            "checksums, by set_crc32_options(False), save it again with them)"
        )


def _is_from_torch(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a plain file, uncompressed: a small file cannot fill the memory, and torch reads what zipfile reads.

    torch leaves the tensor of an entry that is marked as a folder unread, with whatever the memory held before.
    """
    stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    return stored and not entry.external_attr & FOLDER_BIT


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    key, value = item
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    return isinstance(key, str) and plain and value.device.type == "cpu"


def _kind(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return f"a dict with {', '.join(short(key) for key in list(content)[:3])}" if content else "an empty dict"


def _reason(error: Exception) -> str:
    """Return an exception's cause on one line; torch's messages have it after their advice."""
    text = str(error)
    _, _, cause = text.partition("WeightsUnpickler error:")
    lines = (cause or text).strip().splitlines()
    return short(lines[0]) if lines else type(error).__name__
