"""Core ML: `ImageEncoder.mlpackage` for pixels, `PromptDecoder.mlpackage` for points and boxes, as mlprograms in fp16.

On macOS Core ML itself predicts; elsewhere the saved program is interpreted, since Core ML runs on Apple's systems alone.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError
from encoders.export.certification.fusion_check import check_eval_mode
from encoders.export.formats.coreml_convert import (
    convert,
    leads_to_sine,
    need_coremltools,
    save,
    up_to_convolution,
)
from encoders.export.formats.coreml_metadata import COLOUR, describe_decoder, describe_encoder
from encoders.export.formats.coreml_norm import half_safe
from encoders.export.formats.coreml_options import CoreMlOptions
from encoders.export.formats.coreml_runtime import CoreMlRuntime, open_runtime
from encoders.export.formats.coreml_weights import compress
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.pixel_encoder import PixelEncoder
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.sam import Sam

ENCODER, DECODER = "ImageEncoder.mlpackage", "PromptDecoder.mlpackage"
TARGET, ENUMERATED_TARGET = "iOS17", "iOS18"  # lists of shapes on more than one input came with iOS 18


# The first depthwise convolutions of EfficientNet-Lite hold weights up to 18 that cancel each other: with them in fp16
# embeddings move by up to 1e-2 and a mask by 0.02. RepViT and TinyViT need none.
FLOAT32_CONVOLUTIONS = {"sam_demo": 6}


class CoreMlFormat:
    """Packages with coremltools' mlprograms, converted from `torch.export`.

    Args:
        options: numbers of prompts and points, licence.
    """

    name = "coreml"
    format = "coreml"
    extra = "coreml"
    precisions: tuple[str, ...] = ("fp16", "fp32", "int8", "palette8", "palette6", "palette4")
    padding = f"the caller pads right and below with RGB ({COLOUR}); the encoder normalises"
    takes_masks = False
    elsewhere: tuple[str, ...] = () if sys.platform == "darwin" else ("Core ML on macOS and iOS",)

    def __init__(self, options: CoreMlOptions | None = None) -> None:
        self.options = options or CoreMlOptions()

    @property
    def points(self) -> tuple[int, ...]:
        """See `Format.points`: some of the numbers that the decoder takes."""
        return self.options.certified_points

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        if precision not in self.precisions:
            raise InputError(f"no Core ML precision {precision!r}; expected one of {', '.join(self.precisions)}")
        check_eval_mode(sam)
        encoder = compress(convert_encoder(sam, half=precision != "fp32"), precision=precision)
        describe_encoder(encoder, sam, precision=precision, options=self.options)
        save(encoder, folder / ENCODER)
        decoder = convert_decoder(sam, half=precision != "fp32", options=self.options)  # never compressed: see coreml_weights
        describe_decoder(decoder, sam, precision=precision, options=self.options)
        save(decoder, folder / DECODER)

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> CoreMlRuntime:
        """See `Format.open`; Core ML chooses its threads itself."""
        return open_runtime(folder / ENCODER, folder / DECODER, precision=precision)


def convert_encoder(sam: Sam, *, half: bool) -> Any:
    """Convert an image encoder to a coremltools model that takes an RGB image.

    Raises:
        MissingExtra, InputError: as `convert`.
    """
    ct = need_coremltools()
    shape = input_shape(sam)
    encoder = exportable(sam.image_encoder)
    return convert(
        PixelEncoder(half_safe(encoder) if half else encoder),
        (torch.zeros(shape),),
        inputs=[ct.ImageType(name="image", shape=shape, color_layout=ct.colorlayout.RGB)],
        outputs=[ct.TensorType(name="image_embeddings", dtype=_float(half))],
        half=half,
        target=TARGET,
        keep_float32=up_to_convolution(FLOAT32_CONVOLUTIONS.get(sam.arch, 0)),
    )


def convert_decoder(sam: Sam, *, half: bool, options: CoreMlOptions) -> Any:
    """Convert `PromptDecoder` to a coremltools model. The position encoding of prompts stays in float32.

    The embedding is taken in the type that the encoder gives, fp16 if it computes in fp16; the outputs are float32.

    Raises:
        MissingExtra, InputError: as `convert`.
    """
    ct = need_coremltools()
    side = sam.image_size // STRIDE
    prompts, points = options.prompts.values[-1], options.points.values[-1]
    embedding = ct.TensorType(name="image_embeddings", shape=(1, EMBED_DIM, side, side), dtype=_float(half))
    coords = ct.TensorType(name="point_coords", shape=_shape(options, last=(2,)), dtype=np.float32)
    labels = ct.TensorType(name="point_labels", shape=_shape(options), dtype=np.int32)
    axes = {
        axis: torch.export.Dim(name, min=counts.values[0], max=counts.values[-1])
        for axis, (name, counts) in enumerate((("prompts", options.prompts), ("points", options.points)))
        if not counts.fixed
    }
    return convert(
        PromptDecoder(sam),
        (
            torch.zeros(1, EMBED_DIM, side, side),
            torch.zeros(prompts, points, 2),
            torch.zeros(prompts, points, dtype=torch.int32),
        ),
        inputs=[embedding, coords, labels],
        outputs=[ct.TensorType(name=name, dtype=np.float32) for name in ("low_res_masks", "iou_predictions")],
        half=half,
        target=ENUMERATED_TARGET if options.enumerated else TARGET,
        dynamic_shapes=({}, axes, axes),
        keep_float32=leads_to_sine,
    )


def _shape(options: CoreMlOptions, *, last: tuple[int, ...] = ()) -> Any:
    """Return the shape (P, N, *last) in coremltools' types."""
    ct = need_coremltools()
    if options.enumerated:
        shapes = [(*shape, *last) for shape in options.shapes]
        return ct.EnumeratedShapes(shapes=shapes, default=shapes[min(1, len(shapes) - 1)])
    ends = [
        ct.RangeDim(lower_bound=counts.values[0], upper_bound=counts.values[-1], default=counts.room_for(2))
        if counts.ranged
        else counts.values[0]
        for counts in (options.prompts, options.points)
    ]
    return ct.Shape(shape=(*ends, *last))


def _float(half: bool) -> Any:
    return np.float16 if half else np.float32
