"""Loading of the original projects' checkpoints, and of files that others made of them, by their key tables."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from encoders.contract import IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError, InputWarning
from encoders.model_names import MEDSAM
from encoders.registry import fresh_sam, list_models, model_of
from encoders.sam import Sam, build_mask_decoder, build_prompt_encoder
from encoders.weights.keymaps import check_state, decoder_key, identify, key_table
from encoders.weights.keymaps.identify import Looks
from encoders.weights.weights_file import WeightsFile

ENCODER = "image_encoder."
DECODERS = ("prompt_encoder.", "mask_decoder.", "shared_image_embedding.")  # the parts of a SAM beside it, in any file
NAMELESS = ("model", "pytorch_model")  # files that are called by their folder
MEDSAM_INPUT = "MedSAM, whose images are scaled to 0..1 and not normalised as SAM's"
PATCHES = "image_encoder.patch_embed.proj"


def load_original(file: WeightsFile, *, arch: str | None, image_size: int, encoder_alone: bool = False) -> Sam:
    """Load a checkpoint that is not ours, strictly.

    Args:
        file: any kind of file that `identify` knows.
        arch: registry name or checkpoint name; None takes what the file looks like.
        image_size: S in pixels.
        encoder_alone: accept a file without prompt encoder and mask decoder; those stay random.

    Raises:
        InputError: the file does not fit, or it holds an image encoder alone and that is not accepted.
    """
    looks = identify({key: tensor.shape for key, tensor in file.tensors.items()})
    arch = _told(file, looks) if arch is None else arch
    model = model_of(arch)
    table = key_table(model, kind=looks.kind if looks else "official")
    whole = any(key.startswith(DECODERS) for key in file.tensors)
    sam = fresh_sam(model, image_size=image_size)
    ours = {key: tensor for key, tensor in sam.state_dict().items() if whole or key.startswith(ENCODER)}
    names = {table.official(key): key for key in ours}
    found = {table.same.get(key, key): tensor for key, tensor in file.tensors.items() if key not in table.unused}
    expected = {theirs: ours[key] for theirs, key in names.items()}
    found = fitting(file, found, expected, wanted=f"{table.source}, {model} at image size {image_size}")
    state = {key: found[theirs] for theirs, key in names.items()}
    if arch == MEDSAM:
        state |= medsam_patches(state)
    elif _says_medsam(file):
        message = f"{file.name} is called {MEDSAM_INPUT}: as {arch} its embeddings are not MedSAM's"
        if model == model_of(MEDSAM):
            message += f"; say arch={MEDSAM!r} (--arch {MEDSAM})"
        warnings.warn(message, InputWarning, stacklevel=3)
    if not whole and not encoder_alone:
        text = looks.text if looks else model
        raise InputError(
            f"{file.name} is {text}, without prompt encoder and mask decoder; give a file that has them as decoder "
            "(teacher.decoder in a config; elsewhere make one file of both by encoders.save_sam, see docs/teachers.md): "
            f"segment-anything's or HuggingFace's {model}"
            + (", or mobile_sam.pt, whose decoder is the same" if model == "sam_vit_h" else "")
        )
    sam.load_state_dict(state, strict=whole)
    return sam


def decoder_state(file: WeightsFile) -> dict[str, Tensor]:
    """Return prompt encoder and mask decoder of a SAM of any kind, ours or not, under our names.

    Raises:
        InputError: the file has none.
    """
    looks = None if file.is_ours else identify({key: tensor.shape for key, tensor in file.tensors.items()})
    kind = looks.kind if looks else "official"
    with torch.device("meta"):  # names and shapes
        modules = {"prompt_encoder": build_prompt_encoder(IMAGE_SIZE), "mask_decoder": build_mask_decoder()}
    parts = {f"{name}.{key}": tensor for name, module in modules.items() for key, tensor in module.state_dict().items()}
    names = {decoder_key(key, kind=kind): key for key in parts}
    same = key_table("sam_vit_b", kind=kind).same
    held = {same.get(key, key): tensor for key, tensor in file.tensors.items()}
    found = {theirs: held[theirs] for theirs in names if theirs in held}
    expected = {theirs: parts[key] for theirs, key in names.items()}
    found = fitting(file, found, expected, wanted="SAM's prompt encoder and mask decoder")
    return {key: found[theirs] for theirs, key in names.items()}


def fitting(
    file: WeightsFile, found: dict[str, Tensor], expected: Mapping[str, Tensor], *, wanted: str
) -> dict[str, Tensor]:
    """Return `found` after checking its names, shapes and dtype kinds against `expected`.

    Raises:
        InputError: it has not; names the first that differ.
    """
    shapes = {key: tensor.shape for key, tensor in expected.items()}
    check_state({key: tensor.shape for key, tensor in found.items()}, shapes, name=file.name, wanted=wanted)
    for key, tensor in expected.items():
        if tensor.is_floating_point() and not found[key].is_floating_point():
            kind = str(found[key].dtype).removeprefix("torch.")
            raise InputError(f"{file.name} does not fit {wanted}: {key} is {kind}, expected floating-point numbers")
    return found


def medsam_patches(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MedSAM's first layer for SAM's normalised pixels: p / 255 = (normalised * std + mean) / 255, folded into it."""
    weight, bias = (state[f"{PATCHES}.{name}"].double() for name in ("weight", "bias"))
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] / 255 for values in (PIXEL_MEAN, PIXEL_STD))
    return {
        f"{PATCHES}.weight": (weight * std).float(),
        f"{PATCHES}.bias": (bias + (weight * mean).sum(dim=(1, 2, 3))).float(),
    }


def _told(file: WeightsFile, looks: Looks | None) -> str:
    """What the file says of its architecture."""
    if looks is None or not looks.loadable:
        text = looks.text if looks else "no model known here"
        raise InputError(f"{file.name} looks like {text}; expected one of {', '.join(list_models())}")
    assert looks.arch is not None
    if looks.arch == model_of(MEDSAM) and _says_medsam(file):
        raise InputError(
            f"{file.name} is called {MEDSAM_INPUT}; say arch={MEDSAM!r} (--arch {MEDSAM}) for MedSAM, whose first "
            f"layer is then fitted to SAM's images, or arch {looks.arch} if it was trained on those"
        )
    return looks.arch


def _says_medsam(file: WeightsFile) -> bool:
    """Whether a file is called MedSAM; it has SAM's names and shapes, so nothing else tells."""
    path = Path(file.name)
    return "medsam" in (str(path) if path.is_dir() or path.stem in NAMELESS else path.name).lower()
