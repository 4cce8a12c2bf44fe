"""Reading of named tensors from a safetensors or PyTorch file, or from a run folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from encoders.errors import InputError
from encoders.weights.checks import check_values, short
from encoders.weights.safetensors_files import read_safetensors
from encoders.weights.torch_files import read_torch

FORMAT = "repvit-sam-1"
ZIP_START, PICKLE_START = b"PK\x03\x04", b"\x80"  # PyTorch's archives, and the bare pickles before 1.6
RUN_FILES = ("encoder.safetensors", "decoder.safetensors")
HUB_FILE = "model.safetensors"  # of a folder as transformers and timm save models


@dataclass(frozen=True)
class WeightsFile:
    """Named tensors and their origin.

    Attributes:
        name: path, for messages.
        tensors: key -> tensor, on the CPU, in the dtype of the file.
        metadata: what a safetensors file says about itself; `format` is "repvit-sam-1" in a file of ours.
        verified: all of it has a checksum in the file, as files of ours have since they are written with one.
    """

    name: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    verified: bool = False

    @property
    def is_ours(self) -> bool:
        return self.metadata.get("format") == FORMAT


def weight_paths(path: Path) -> list[Path]:
    """The files that hold the weights of `path`: itself, the two of a run folder, or the one of a folder from a hub.

    Raises:
        InputError: there is no such file, or the folder is no finished run.
    """
    if path.is_dir():
        absent = [name for name in RUN_FILES if not (path / name).is_file()]
        if len(absent) == len(RUN_FILES) and (path / HUB_FILE).is_file():
            return [path / HUB_FILE]
        if absent:
            raise InputError(f"{path} is not a finished run: it has no {' and no '.join(absent)}")
        return [path / name for name in RUN_FILES]
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a run folder, a .safetensors, a .pt or a .pth file")
    return [path]


def read_weights(path: Path) -> WeightsFile:
    """Read a file or a run folder, and check it as far as its format allows.

    Files of ours have a checksum, and so have the entries of zip archives. A bare pickle, and any other safetensors file, has
    none: damage is noticed where the file cannot be read or holds values that no model has, see `check_values`.

    Raises:
        InputError: it is missing, damaged, no checkpoint, would run code when read, or a run's two files disagree.
    """
    files = [_read_file(file) for file in weight_paths(path)]
    first = files[0]
    for file in files[1:]:
        for key in ("format", "arch", "image_size", "fused"):
            if file.metadata.get(key) != first.metadata.get(key):
                raise InputError(
                    f"{file.name} does not belong to {first.name}: its {key} is {short(file.metadata.get(key))}, "
                    f"the other's {short(first.metadata.get(key))}"
                )
    tensors = {key: tensor for file in files for key, tensor in file.tensors.items()}
    return WeightsFile(
        name=str(path), tensors=tensors, metadata=first.metadata, verified=all(file.verified for file in files)
    )


def _read_file(path: Path) -> WeightsFile:
    try:
        with path.open("rb") as opened:
            head = opened.read(9)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if head[8:9] == b"{":  # safetensors: 8 bytes of length, then a json header
        tensors, metadata, verified = read_safetensors(path)
        file = WeightsFile(name=str(path), tensors=tensors, metadata=metadata, verified=verified)
    elif path.suffix == ".safetensors":
        raise InputError(f"{path} is damaged or no safetensors file: it has no header ({path.stat().st_size} bytes)")
    elif head.startswith((ZIP_START, PICKLE_START)):
        file = WeightsFile(name=str(path), tensors=read_torch(path, zipped=head.startswith(ZIP_START)))
    else:
        hint = f"; eval takes a model written in Python as {path.stem}:FUNCTION" if path.suffix == ".py" else ""
        raise InputError(
            f"{path} is not a checkpoint: expected a safetensors or a PyTorch file ({path.stat().st_size} bytes){hint}"
        )
    if not file.verified:
        check_values(file.tensors, name=file.name)
    return file
