"""osam, and labelme, which uses it: encoder, decoder, and a Python file that registers them with osam.

Source: wkentaro/osam, `osam/_models/sam/_encoding.py` (`get_input_size` reads S from the encoder;
`compute_image_embedding_from_image` normalises, pads with zeros and calls the input `x`), `_decoding.py`
(`generate_mask_from_image_embedding`: `mask_input` (1, 1, 256, 256) at every S, `has_mask_input` -1) and `osam/apis.py`
(`registered_model_types`); wkentaro/labelme, `labelme/_ai_models.py` (its fixed list of models).

segment-anything's own decoder multiplies by `has_mask_input`, so -1 would add the negative of an empty mask's embedding; ours
takes every value that is not above 0 to mean "no mask".
"""

import shutil
from pathlib import Path

import torch

from encoders.export.formats.onnx import DECODER, ENCODER, OnnxFormat, write_encoder
from encoders.export.modules.exportable import exportable
from encoders.export.targets.tool_decoders import FramedDecoder
from encoders.export.targets.tool_runtime import ToolRuntime
from encoders.export.targets.x_anylabeling import write_framed_decoder
from encoders.sam import Sam

MODEL_FILE = Path(__file__).with_name("osam_model.py")
USED_AS = "repvit_sam_osam.py"

README = """# For osam and labelme

Neither tool opens a model by its path. `repvit_sam_osam.py`, which must stay beside the ONNX files, registers this model with
osam and then starts the tool. Nothing is downloaded.

    python repvit_sam_osam.py osam run repvit-sam --image photo.jpg > masks.png
    python repvit_sam_osam.py labelme photos/

In labelme choose the AI model "Sam (speed)": labelme's list of models is fixed, so the file replaces its `sam:100m` with this
model. In a program of your own, call `import repvit_sam_osam; repvit_sam_osam.register()` and ask osam for `repvit-sam:latest`.

The encoder takes x [1,3,{size},{size}] float32, normalised as SAM does and padded with zeros right and below. The decoder has
segment-anything's names; mask_input is [1,1,256,256] at every size, and a has_mask_input of 0 or less means "no mask".
"""


class OsamTarget(OnnxFormat):
    """An encoder with the input `x`, a decoder for osam's calls, and the file that registers both."""

    name = "osam"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(1, 3, sam.image_size, sam.image_size)
        write_encoder(exportable(sam.image_encoder), folder / ENCODER, image=image, input_name="x")
        write_framed_decoder(FramedDecoder(sam), folder / DECODER)
        shutil.copyfile(MODEL_FILE, folder / USED_AS)
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> ToolRuntime:
        """See `Format.open`."""
        return ToolRuntime(folder / ENCODER, folder / DECODER, image_size=image_size, has_mask=-1.0, threads=threads)
