"""From a file or a run folder to named tensors: safetensors, or PyTorch files read without running their code."""

import argparse
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from encoders.errors import InputError

FORMAT = "repvit-sam-1"
RUN_FILES = ("encoder.safetensors", "decoder.safetensors")
_WRAPPERS = ("model", "state_dict")  # keys under which training scripts put the weights


@dataclass(frozen=True)
class WeightsFile:
    """Named tensors and where they come from.

    Attributes:
        name: path, for messages.
        tensors: key -> tensor, on the CPU, in the dtype of the file.
        metadata: what a safetensors file says about itself; `format` is "repvit-sam-1" in a file of ours.
    """

    name: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.metadata.get("format") == FORMAT


def weight_paths(path: Path) -> list[Path]:
    """The files that hold the weights of `path`: itself, or the two of a run folder.

    Raises:
        InputError: there is no such file, or the folder is no finished run.
    """
    if path.is_dir():
        absent = [name for name in RUN_FILES if not (path / name).is_file()]
        if absent:
            raise InputError(f"{path} is no finished run: it has no {' and no '.join(absent)}")
        return [path / name for name in RUN_FILES]
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a run folder, a .safetensors, a .pt or a .pth file")
    return [path]


def read_weights(path: Path) -> WeightsFile:
    """Read a file or a run folder.

    Raises:
        InputError: it is missing, damaged, no checkpoint, would run code when read, or a run's two files disagree.
    """
    files = [_read_file(file) for file in weight_paths(path)]
    first = files[0]
    for file in files[1:]:
        for key in ("format", "arch", "image_size"):
            if file.metadata.get(key) != first.metadata.get(key):
                raise InputError(
                    f"{file.name} does not belong to {first.name}: its {key} is {file.metadata.get(key)}, "
                    f"the other's {first.metadata.get(key)}"
                )
    tensors = {key: tensor for file in files for key, tensor in file.tensors.items()}
    return WeightsFile(name=str(path), tensors=tensors, metadata=first.metadata)


def _read_file(path: Path) -> WeightsFile:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":  # safetensors: 8 bytes of length, then a json header
        return _read_safetensors(path)
    if path.suffix == ".safetensors":
        raise InputError(f"{path} is damaged or no safetensors file: it has no header ({path.stat().st_size} bytes)")
    if head[:2] == b"PK" or head[:1] == b"\x80":  # a zip archive, or a bare pickle of PyTorch before 1.6
        return WeightsFile(name=str(path), tensors=_read_torch(path))
    raise InputError(f"{path} is no checkpoint: expected a safetensors or a PyTorch file ({path.stat().st_size} bytes)")


def _read_safetensors(path: Path) -> WeightsFile:
    try:
        with safe_open(path, framework="pt") as file:
            return WeightsFile(
                name=str(path),
                tensors={key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118  (no mapping)
                metadata=file.metadata() or {},
            )
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; copy it again") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values: RepViT's script saves its own
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} holds more than tensors and is not read, since that could run its code ({reason}); "
            "save its state dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}; copy it again") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} is no checkpoint: expected a dict of named tensors, it holds {_kind(content)}")
    return dict(content)


def _kind(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return f"a dict with {', '.join(str(key) for key in list(content)[:3])}" if content else "an empty dict"
