"""segment-anything's own use of ONNX: `decoder.onnx` replaces its exported decoder, `encoder.onnx` its image encoder.

Source: segment-anything, `scripts/export_onnx_model.py` and `notebooks/onnx_model_example.ipynb`.
"""

from pathlib import Path

from encoders.export.formats.onnx import OnnxFormat
from encoders.sam import Sam

README = """# For segment-anything

`decoder.onnx` replaces the file that segment-anything's `scripts/export_onnx_model.py` writes, and has the same names:
image_embeddings [1,256,{side},{side}], point_coords [P,N,2], point_labels [P,N], mask_input [1,1,{mask},{mask}],
has_mask_input [1], orig_im_size [2] float32 (height, width) -> masks [P,4,H,W], iou_predictions [P,4],
low_res_masks [P,4,{mask},{mask}]. All are float32. The single mask is the first of the four, as with
`return_single_mask=False`.

Points are in pixels of the resized photo (`ResizeLongestSide({size}).apply_coords`). Labels: 1 foreground, 0 background, 2 and
3 the top left and bottom right corner of a box, -1 padding. Append the point (0, 0) with label -1 to a prompt without a
box, and no such point to a prompt with a box. So either all prompts of a call must have a box or none.

`encoder.onnx` takes image [1,3,{size},{size}] as `Sam.preprocess` returns it, and returns image_embeddings.
"""


class SegmentAnythingTarget(OnnxFormat):
    """The ONNX format, which already uses segment-anything's names, with a readme."""

    name = "segment-anything"
    takes_masks = True

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        super().write(sam, folder, precision=precision)
        size = sam.image_size
        (folder / "README.md").write_text(README.format(size=size, side=size // 16, mask=size // 4), encoding="utf-8")
