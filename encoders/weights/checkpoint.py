"""Loading and saving of weights: run folders, our files and the original projects' checkpoints."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError, did_you_mean
from encoders.files import sha256_file
from encoders.fusion import fuse
from encoders.model_names import MEDSAM, SHIPPED_WEIGHTS
from encoders.registry import BUILDERS, fresh_sam, model_of, unknown_model
from encoders.sam import Sam
from encoders.weights.checks import short, tensors_digest
from encoders.weights.keymaps import key_table
from encoders.weights.originals import decoder_state, fitting, load_original
from encoders.weights.safetensors_files import write_safetensors
from encoders.weights.weights_file import FORMAT, RUN_FILES, WeightsFile, read_weights, weight_paths

MAX_IMAGE_SIZE = 8192  # pixels; what a file of ours may name


class _Facts(BaseModel):
    """The facts about the model in the metadata of our weights files."""

    model_config = ConfigDict(frozen=True)

    arch: str
    image_size: int = Field(IMAGE_SIZE, gt=0, le=MAX_IMAGE_SIZE)
    fused: Literal["true", "false"] = "false"


def load(
    path_or_name: Path | str,
    *,
    arch: str | None = None,
    image_size: int | None = None,
    decoder: Path | str | None = None,
) -> Sam:
    """Load a SAM with its weights, in eval mode, float32 on the CPU. Loading is strict: every name and shape must match.

    Args:
        path_or_name: a run folder, a safetensors file of ours, an original project's checkpoint (`repvit_sam.pt` and
            the same at other widths, `mobile_sam.pt`, `sam_vit_{b,l,h}.pth`), SAM in the form of timm, HuggingFace or SAM-HQ
            (docs/teachers.md), or a registry name that ships weights.
        arch: registry name, or `medsam_vit_b` for MedSAM; needed only where the file does not tell it.
        image_size: S in pixels; None takes the file's own, 1024 for an original checkpoint.
        decoder: as `path_or_name`; prompt encoder and mask decoder are taken from there, which a file that holds an image
            encoder alone needs.

    Raises:
        InputError: nothing there, a damaged file, no checkpoint, or one of another architecture: the message names the
            first unexpected and missing keys and what the file looks like.
    """
    model = None if arch is None else model_of(arch)
    file = _read(path_or_name)
    if file.is_ours:
        sam = _load_ours(file, arch=model, image_size=image_size)
    else:
        size = IMAGE_SIZE if image_size is None else image_size
        sam = load_original(file, arch=arch, image_size=size, encoder_alone=decoder is not None)
    if decoder is not None:
        sam.load_state_dict(decoder_state(_read(decoder)), strict=False)
    return sam


def build_sam(name: str, *, checkpoint: Path | str | None = None, image_size: int = IMAGE_SIZE) -> Sam:
    """Build a SAM of an architecture in eval mode; BatchNorm encoders are silently wrong in train mode.

    Args:
        name: see `list_models`.
        checkpoint: weights as `load` reads them. None leaves everything freshly initialised, also for a name that ships
            weights; `encoders.load(name)` gives those.
        image_size: S in pixels.

    Raises:
        InputError: as `encoders.build_image_encoder` and `load`.
    """
    return fresh_sam(name, image_size=image_size) if checkpoint is None else load(checkpoint, arch=name, image_size=image_size)


def resolve(path_or_name: Path | str) -> Path:
    """Return the path of a registry name's shipped weights, or the given path.

    Raises:
        InputError: a name that ships no weights, or whose weights are not there, or neither a name nor a path.
    """
    path, name = Path(path_or_name), str(path_or_name)
    try:
        if path.exists():
            return path
    except OSError as error:  # a name too long for a file, a folder without permission
        what = f"{short(name)} cannot be opened ({error.strerror})"
        raise InputError(f"{what}; give a run folder or a checkpoint file") from error
    if name in SHIPPED_WEIGHTS:
        if not SHIPPED_WEIGHTS[name].is_file():
            raise InputError(f"the weights of {name} are not installed: {SHIPPED_WEIGHTS[name]} does not exist")
        return SHIPPED_WEIGHTS[name]
    shipped = ", ".join(SHIPPED_WEIGHTS)
    if name in BUILDERS:
        say = f"arch={name!r} (--arch {name})"
        raise InputError(f"{name} ships no weights (only {shipped} does); give its checkpoint, with {say}")
    hint = did_you_mean(name, BUILDERS)
    raise InputError(
        f"{short(name)} does not exist; expected a run folder, a checkpoint file or a name that ships weights ({shipped}){hint}"
    )


def _read(path_or_name: Path | str) -> WeightsFile:
    return read_weights(resolve(path_or_name))


def _load_ours(file: WeightsFile, *, arch: str | None, image_size: int | None) -> Sam:
    facts = _facts(file)
    if facts.arch not in BUILDERS:
        raise InputError(f"{file.name}: {unknown_model(short(facts.arch))}")
    if arch is not None and arch != facts.arch:
        say = f"arch={facts.arch!r} (--arch {facts.arch})"
        raise InputError(f"{file.name} holds {facts.arch}, not {arch}; leave arch out or say {say}")
    sam = fresh_sam(facts.arch, image_size=facts.image_size if image_size is None else image_size)
    if facts.fused == "true":
        sam = fuse(sam)
    wanted = f"{facts.arch} at image size {sam.image_size}"
    sam.load_state_dict(fitting(file, dict(file.tensors), sam.state_dict(), wanted=wanted))
    return sam


def _facts(file: WeightsFile) -> _Facts:
    try:
        return _Facts.model_validate(file.metadata)
    except ValidationError as error:
        first = error.errors()[0]
        given = f"{first['loc'][0]} is {short(first['input'])!r}" if first["type"] != "missing" else f"no {first['loc'][0]}"
        raise InputError(f"{file.name} is damaged: its metadata say {given} ({first['msg']}); copy it again") from error


def official_state_dict(sam: Sam) -> dict[str, Tensor]:
    """Return the weights under the original project's names, for strict loading by its own builder.

    RepViT: `repvit_sam.pt` (for `repvit_m2_3` the released file's 1,598 keys). TinyViT: `mobile_sam.pt`, whose unused
    ImageNet head is filled with zeros. SAM ViT: `sam_vit_*.pth`.

    Raises:
        InputError: a fused model, whose parameters no original has.
    """
    if sam.fused:
        raise InputError("the model is fused, which cannot be undone; give the one it was fused from")
    table = key_table(sam.arch)
    state = {table.official(key): tensor for key, tensor in sam.state_dict().items()}
    return state | {key: torch.zeros(shape) for key, shape in table.unused.items()}


def save_sam(
    sam: Sam, path: Path | str, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a whole Sam as one self-describing safetensors file for `load`.

    Args:
        sam: any Sam of the registry, fused or not.
        path: of the file; it is replaced atomically.
        dtype: of the floating-point tensors in the file.
        metadata: further facts, kept beside `format`, `arch`, `image_size`, `fused` and `content_sha256`, the checksum that
            `load` verifies.
    """
    _save(sam, sam.state_dict(), Path(path), dtype=dtype, metadata=metadata)


def save_run_weights(
    sam: Sam, folder: Path | str, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write `encoder.safetensors` (image encoder) and `decoder.safetensors` (the rest) into a run folder.

    The decoder comes first: a run counts as finished when both are there.
    """
    state = sam.state_dict()
    encoder = {key: tensor for key, tensor in state.items() if key.startswith("image_encoder.")}
    decoder = {key: tensor for key, tensor in state.items() if key not in encoder}
    for name, part in reversed(list(zip(RUN_FILES, (encoder, decoder), strict=True))):
        _save(sam, part, Path(folder) / name, dtype=dtype, metadata=metadata)


def _save(
    sam: Sam, state: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype, metadata: Mapping[str, str] | None
) -> None:
    facts = {"format": FORMAT, "arch": sam.arch, "image_size": str(sam.image_size), "fused": str(sam.fused).lower()}
    tensors = {key: _plain(tensor, dtype) for key, tensor in state.items()}
    write_safetensors(path, tensors, metadata={**(metadata or {}), **facts})


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()


def weights_sha256(path_or_name: Path | str) -> str:
    """Return the hex sha256 of the weights file; for a run folder, that of its two files' checksums.

    Two files may hold the same weights: to tell a teacher, ask `tensors_sha256`.

    Raises:
        InputError: as `load`, where there is nothing to read.
    """
    sums = [sha256_file(path) for path in weight_paths(resolve(path_or_name))]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def tensors_sha256(path_or_name: Path | str, *, arch: str | None = None, recorded: str | None = None) -> str:
    """Return the hex sha256 of the tensors' names, shapes, dtypes and bytes, which identifies a teacher in any file format.

    Args:
        path_or_name: as for `load`.
        arch: as for `load`; MedSAM's changes the embeddings, and so the identity.
        recorded: the identity that a cache has of its teacher. Caches of earlier versions have `weights_sha256`: where that is
            the one of these weights, it is returned, so that the caller only has to compare.

    Raises:
        InputError: as `load`, for a file that cannot be read.
    """
    file = _read(path_or_name)
    found = tensors_digest(file.tensors)
    if arch == MEDSAM and not file.is_ours:
        return hashlib.sha256(f"{MEDSAM} {found}".encode()).hexdigest()
    if recorded is not None and recorded != found and recorded == weights_sha256(path_or_name):
        return recorded
    return found
