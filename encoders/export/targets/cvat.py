"""CVAT: the serverless function that returns embeddings, and the decoder that its page runs in the browser.

Source: cvat-ai/cvat, `serverless/pytorch/facebookresearch/sam/nuclio/` (`function.yaml`; `main.py`, whose `handler` returns
{"blob": base64 of float32 [1, 256, 64, 64]}) and `cvat-ui/plugins/sam/src/ts/index.tsx`, which takes 64 x 64 and 1024 pixels
for granted and looks for the function by its name.
"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import torch

from encoders.errors import InputError, InputWarning
from encoders.export.formats.base import no_mask_input
from encoders.export.formats.onnx import (
    DECODER,
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER,
    OnnxFormat,
    write_encoder,
    write_onnx,
)
from encoders.export.modules.exportable import exportable
from encoders.export.targets.cvat_decoder import CvatDecoder
from encoders.export.targets.python import SEGMENT_FILE, SegmentRuntime
from encoders.export.targets.tool_decoders import TOOL_FRAME, TOOL_MASK, points_shapes
from encoders.export.targets.tool_runtime import one_by_one, without_padding_points
from encoders.sam import Sam

HERE = Path(__file__).parent
OUTPUTS = (*DECODER_OUTPUTS, "xtl", "ytl", "xbr", "ybr", "all_iou_predictions", "all_low_res_masks")
DECODER_NOTE = (
    "CVAT decodes in the browser with the decoder of SAM ViT-H. This matches a model whose image encoder alone was trained "
    "(stage 1); the weights do not show which. If the decoder was trained too, replace CVAT's with the export's decoder.onnx"
)

README = """# For CVAT

`function.yaml`, `main.py`, `segment.py` and `encoder.onnx` are a serverless function that replaces CVAT's own SAM:

    cp -r THIS_FOLDER cvat/serverless/onnx/repvit-sam/nuclio
    cd cvat/serverless && ./deploy_cpu.sh onnx/repvit-sam

It has the name of CVAT's SAM function, `pth-facebookresearch-sam-vit-h`, as the page decodes only for that name. So the two
cannot run side by side. It returns {"blob": base64 of float32 [1,256,64,64]}.

**Which decoder.** The page decodes with its own copy of SAM ViT-H's decoder. A model whose image encoder alone was trained, on
ViT-H's embeddings (stage 1), has that decoder, and you are done. The weights do not show whether it has; you need to know how
the model was trained. If its decoder was trained too, replace `cvat-ui/plugins/sam/assets/decoder.onnx` with this folder's
`decoder.onnx`, which has the same inputs and outputs (and two more outputs), and build CVAT's page again. The certificate was
measured with this folder's decoder.
"""


class CvatTarget(OnnxFormat):
    """A nuclio function that returns embeddings, and a decoder for the browser; at 1024 pixels only."""

    name = "cvat"
    elsewhere = ("onnxruntime-web in CVAT's page",)
    padding = "the function normalises, then pads right and below with zeros"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`. Warns that CVAT's page decodes with its own decoder.

        Raises:
            InputError: the model's size is not 1024.
        """
        size = sam.image_size
        if size != TOOL_FRAME:
            raise InputError(
                f"CVAT's page takes embeddings of {TOOL_FRAME} px only, and this model works at {size} px; export it with "
                f"--image-size {TOOL_FRAME}, or train a model at that size"
            )
        warnings.warn(DECODER_NOTE, InputWarning, stacklevel=2)
        write_encoder(exportable(sam.image_encoder), folder / ENCODER, image=torch.zeros(1, 3, size, size))
        write_cvat_decoder(sam, folder / DECODER)
        for source, name in (("cvat_main.py", "main.py"), ("cvat_function.yaml", "function.yaml")):
            shutil.copyfile(HERE / source, folder / name)
        shutil.copyfile(SEGMENT_FILE, folder / SEGMENT_FILE.name)
        (folder / "README.md").write_text(README, encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "CvatRuntime":
        """See `Format.open`."""
        return CvatRuntime(folder, image_size=image_size, threads=threads)


def write_cvat_decoder(sam: Sam, path: Path) -> None:
    """Write the decoder that CVAT's page runs, for one prompt."""
    decoder = CvatDecoder(sam)
    embedding, coords, labels, *rest = decoder.example()
    points = {1: points_shapes()[0][1]}
    write_onnx(
        decoder,
        path,
        example=(embedding, coords[:1], labels[:1], *rest),
        inputs=DECODER_INPUTS,
        outputs=OUTPUTS,
        dynamic_shapes=({}, points, points, {}, {}, {}),
    )


class CvatRuntime(SegmentRuntime):
    """The function's `segment.py` for embeddings, and the page's call of the decoder for masks."""

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""
        no_mask_input(masks)

        def ask(points: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            points, kinds = without_padding_points(points, kinds)
            given = {
                "image_embeddings": embedding,
                "point_coords": points.astype(np.float32),
                "point_labels": kinds.astype(np.float32),
                "mask_input": np.zeros((1, 1, TOOL_MASK, TOOL_MASK), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.asarray([self.image_size, self.image_size], np.float32),
            }
            scores, logits = self._decoder.run(OUTPUTS[-2:], given)
            return logits, scores

        return one_by_one(ask, coords=coords, labels=labels)
