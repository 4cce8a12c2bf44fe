"""X-AnyLabeling's model type `segment_anything`: encoder, decoder and the yaml that its "Load Custom Model" takes.

Source: CVHub520/X-AnyLabeling, `anylabeling/services/auto_labeling/sam_onnx.py` (`SegmentAnythingONNX`), `segment_anything.py`
(`SegmentAnything`), `model_manager.py` (`load_custom_model`); its encoder's contract is vietanhdev/samexporter's,
`samexporter/onnx_utils.py` (`ImageEncoderOnnxModel`).

The tool warps every photo into (684, 1024, 3), black where the photo does not reach, and gives points and `orig_im_size` in
that frame, whatever the yaml says: `input_size`, `max_width` and `max_height` must be there and are not used. So a portrait
is seen at 684 pixels of height instead of 1024. What can be put right is done inside the two graphs: they bring the tool's
frame to the model's own size, and black borders count as SAM's padding.
"""

from pathlib import Path

import yaml

from encoders.export.exportable import exportable
from encoders.export.formats.onnx import DECODER, DECODER_INPUTS, DECODER_OUTPUTS, ENCODER, OnnxFormat, write_onnx
from encoders.export.targets.photo_encoder import PhotoEncoder
from encoders.export.targets.tool_decoders import TOOL_FRAME, FramedDecoder, points_shapes
from encoders.export.targets.tool_runtime import PhotoToolRuntime
from encoders.sam import Sam

HEIGHT, WIDTH = 684, TOOL_FRAME  # of what the tool warps photos into, in pixels

README = """# For X-AnyLabeling

In X-AnyLabeling choose "Load Custom Model" in the list of models and open `config.yaml`; the ONNX files stay beside it.

The tool fits every photo into 1024 x 684 pixels (width x height), so that a portrait photo is seen at 684 pixels of height.
`input_size`, `max_width` and `max_height` must stand in the yaml; the tool does not use them. The model itself works at {size}
pixels: both files convert from and to the tool's frame.
"""


class XAnyLabelingTarget(OnnxFormat):
    """Encoder float32 (H, W, 3) RGB 0-255 -> image_embeddings; decoder of segment-anything's names, for the tool's numbers."""

    name = "x-anylabeling"
    padding = "the encoder normalises and pads with zeros; black borders of the tool's frame count as padding"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        write_photo_model(sam, folder)
        config = labeling_config(sam) | {"provider": "Others"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> PhotoToolRuntime:
        """See `Format.open`. Photos go in at the size that they have in the model's frame; the tool's warp is left out."""
        return open_photo_model(folder, image_size=image_size, threads=threads)


def write_photo_model(sam: Sam, folder: Path) -> None:
    """`encoder.onnx` and `decoder.onnx` as X-AnyLabeling and AnyLabeling call them."""
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
    """A decoder of segment-anything's names, for any number of prompts and points."""
    write_onnx(
        decoder,
        path,
        example=decoder.example(),
        inputs=DECODER_INPUTS,
        outputs=DECODER_OUTPUTS,
        dynamic_shapes=({}, *points_shapes(), {}, {}, {}),
    )


def labeling_config(sam: Sam) -> dict[str, str | int]:
    """What both tools read of a model of the type `segment_anything`."""
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
    """The runtime of what `write_photo_model` wrote.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or no model.
    """
    return PhotoToolRuntime(
        folder / ENCODER,
        folder / DECODER,
        image_size=image_size,
        frame=TOOL_FRAME,
        orig_im_size=(HEIGHT, WIDTH),
        threads=threads,
    )
