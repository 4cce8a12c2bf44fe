"""X-AnyLabeling's model type `segment_anything`: encoder, decoder and the yaml that its "Load Custom Model" takes.

Source: CVHub520/X-AnyLabeling, `anylabeling/services/auto_labeling/sam_onnx.py` (`SegmentAnythingONNX`), `segment_anything.py`
(`SegmentAnything`), `model_manager.py` (`load_custom_model`); the encoder's contract is that of vietanhdev/samexporter,
`samexporter/onnx_utils.py` (`ImageEncoderOnnxModel`).

The tool warps every photo into (684, 1024, 3), black where the photo does not reach, and gives points and `orig_im_size` in
that frame, whatever the yaml says: `input_size`, `max_width` and `max_height` must be there but are not used. So the model sees
a portrait at a height of 684 pixels instead of 1024. The two graphs correct what they can: they resize the tool's frame to the
model's own size, and treat black borders as SAM's padding.
"""

import warnings
from pathlib import Path

import numpy as np
import yaml

from encoders.errors import InputWarning
from encoders.export.formats.onnx import DECODER, DECODER_INPUTS, DECODER_OUTPUTS, ENCODER, OnnxFormat, write_onnx
from encoders.export.modules.exportable import exportable
from encoders.export.targets.photo_encoder import PhotoEncoder
from encoders.export.targets.tool_decoders import TOOL_FRAME, FramedDecoder, points_shapes
from encoders.export.targets.tool_runtime import PhotoToolRuntime
from encoders.sam import Sam

HEIGHT, WIDTH = 684, TOOL_FRAME  # pixels: the frame into which the tool warps photos

README = """# For X-AnyLabeling

In X-AnyLabeling choose "Load Custom Model" in the list of models and open `config.yaml`; keep the ONNX files beside it.

The tool fits every photo into 1024 x 684 pixels (width x height), so the model sees a portrait photo at a height of 684 pixels.
`input_size`, `max_width` and `max_height` must be in the yaml, although the tool does not use them. The model itself works at
{size} pixels: both files convert from and to the tool's frame.
"""


class XAnyLabelingTarget(OnnxFormat):
    """Encoder float32 (H, W, 3) RGB 0-255 -> image_embeddings; decoder with segment-anything's names for the tool's frame."""

    name = "x-anylabeling"
    padding = "the encoder normalises and pads with zeros; it treats black borders of the tool's frame as padding"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        write_photo_model(sam, folder)
        config = labeling_config(sam) | {"provider": "Others"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> PhotoToolRuntime:
        """See `Format.open`. Photos are passed at the size that they have in the model's frame, without the tool's warp."""
        return open_photo_model(folder, image_size=image_size, threads=threads)


class TrimmingRuntime(PhotoToolRuntime):
    """A `PhotoToolRuntime` whose encoder treats black borders as padding; warns if a photo itself has such a border."""

    def encode_photo(self, photo: np.ndarray) -> np.ndarray:
        """See `PhotoToolRuntime.encode_photo`."""
        if not (photo[-1].any() and photo[:, -1].any()):
            warnings.warn(
                "a photo ends in black at its right or lower edge; this model treats that edge as padding, as the tool adds "
                "such edges, so its masks differ from PyTorch's there; choose other photos with --photos",
                InputWarning,
                stacklevel=2,
            )
        return super().encode_photo(photo)


def write_photo_model(sam: Sam, folder: Path) -> None:
    """Write `encoder.onnx` and `decoder.onnx` as X-AnyLabeling and AnyLabeling call them."""
    encoder = PhotoEncoder(exportable(sam.image_encoder), image_size=sam.image_size, channels_last=True, trim=True)
    write_onnx(
        encoder,
        folder / ENCODER,
        example=(encoder.example(),),
        inputs=("input_image",),
        outputs=("image_embeddings",),
        dynamic_shapes=encoder.dynamic_shapes(),
    )
    write_framed_decoder(FramedDecoder(sam, frame=TOOL_FRAME), folder / DECODER)


def write_framed_decoder(decoder: FramedDecoder, path: Path) -> None:
    """Write a decoder with segment-anything's names, for any number of prompts and points."""
    write_onnx(
        decoder,
        path,
        example=decoder.example(),
        inputs=DECODER_INPUTS,
        outputs=DECODER_OUTPUTS,
        dynamic_shapes=({}, *points_shapes(), {}, {}, {}),
    )


def labeling_config(sam: Sam) -> dict[str, str | int]:
    """Return the configuration that both tools read for a model of type `segment_anything`."""
    return {
        "type": "segment_anything",
        "name": f"repvit_sam-{sam.arch}-{sam.image_size}",
        "display_name": f"RepViT-SAM ({sam.arch}, {sam.image_size} px)",
        "encoder_model_path": ENCODER,
        "decoder_model_path": DECODER,
        "input_size": TOOL_FRAME,
        "max_width": WIDTH,
        "max_height": HEIGHT,
    }


def open_photo_model(folder: Path, *, image_size: int, threads: int | None) -> PhotoToolRuntime:
    """Open a runtime for the files that `write_photo_model` wrote.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or is not a model.
    """
    return TrimmingRuntime(
        folder / ENCODER,
        folder / DECODER,
        image_size=image_size,
        frame=TOOL_FRAME,
        orig_im_size=(HEIGHT, WIDTH),
        threads=threads,
    )
