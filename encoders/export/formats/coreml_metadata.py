"""Metadata of Core ML packages, readable in Xcode or from `MLModelDescription` without this project."""

import importlib.metadata
from typing import Any

from encoders.contract import MASK_THRESHOLD, STRIDE
from encoders.export.certification.tensors import weights_checksum
from encoders.export.formats.coreml_options import CoreMlOptions
from encoders.export.modules.frame import input_shape
from encoders.export.modules.pixel_encoder import PAD_COLOUR
from encoders.sam import Sam

COLOUR = ", ".join(str(value) for value in PAD_COLOUR)
PADDING = (
    f"The caller pads right and below with RGB ({COLOUR}), the mean colour, which normalises to SAM's zero; black does not, "
    "and the masks then agree to 0.95 only. The model normalises by itself."
)
PROMPTS = (
    "xy in pixels of the S x S input. Labels: 1 foreground, 0 background, 2 and 3 a box's top left and bottom right corner, "
    "-1 padding. A prompt without a box must end with exactly one extra point (0, 0) labelled -1. A prompt with a box must not "
    "have one. Further padding points change the answer."
)
LICENCE = "Code: Apache-2.0. Weights: of the checkpoint that they come from."


def shared_facts(sam: Sam, *, precision: str, options: CoreMlOptions) -> dict[str, str]:
    """Facts that encoder and decoder share."""
    return {
        "arch": sam.arch,
        "image_size": str(sam.image_size),
        "precision": precision,
        "licence": options.licence or LICENCE,
        "repvit_sam_version": importlib.metadata.version("repvit-sam"),
    }


def describe_encoder(model: Any, sam: Sam, *, precision: str, options: CoreMlOptions) -> None:
    """Fill in descriptions and facts of an encoder package, in place."""
    size, (_, _, height, width) = sam.image_size, input_shape(sam)
    model.short_description = f"SAM image encoder {sam.arch} for {width} x {height} pixels, normalisation inside."
    model.input_description["image"] = (
        f"RGB, the long side resized to {size} (antialiased bilinear). {PADDING}"
    )
    model.output_description["image_embeddings"] = f"(1, 256, {size // 16}, {size // 16}), for the prompt decoder."
    facts = {"padding": PADDING, "padding_colour_rgb": ",".join(str(value) for value in PAD_COLOUR)}
    facts["fused_tensors_sha256"] = weights_checksum(sam.image_encoder)
    describe(model, shared_facts(sam, precision=precision, options=options) | facts)


def describe_decoder(model: Any, sam: Sam, *, precision: str, options: CoreMlOptions) -> None:
    """Fill in descriptions and facts of a decoder package, in place."""
    side = sam.image_size // STRIDE
    model.short_description = "SAM prompt encoder and mask decoder: points and boxes to four masks each."
    model.input_description["image_embeddings"] = f"(1, 256, {side}, {side}), of the image encoder."
    model.input_description["point_coords"] = f"(P, N, 2). {PROMPTS.replace('S x S', f'{sam.image_size} x {sam.image_size}')}"
    model.input_description["point_labels"] = "(P, N): 1, 0, 2, 3 or -1, see point_coords."
    model.output_description["low_res_masks"] = (
        f"(P, 4, {4 * side}, {4 * side}) logits over the padded input, above {MASK_THRESHOLD:g} is mask; mask 0 is the single "
        "one, for boxes and several points, 1 to 3 are the choices for a single point."
    )
    model.output_description["iou_predictions"] = "(P, 4) predicted IoU of each mask."
    facts = {
        "prompt_contract": PROMPTS,
        "prompts": str(options.prompts),
        "points": str(options.points),
        "mask_threshold": f"{MASK_THRESHOLD:g}",
        "fused_tensors_sha256": weights_checksum(sam.prompt_encoder, sam.mask_decoder),
    }
    describe(model, shared_facts(sam, precision=precision, options=options) | facts)


def describe(model: Any, facts: dict[str, str]) -> None:
    """Put facts into a coremltools model, in place; version and licence also where Xcode shows them."""
    facts = {"licence": LICENCE} | facts
    model.author = "repvit-sam"
    model.license = facts["licence"]
    model.version = facts["repvit_sam_version"]
    for name, value in facts.items():
        model.user_defined_metadata[name] = value
