"""CVAT: the serverless function that answers with embeddings, and the decoder that its page runs in the browser.

Source: cvat-ai/cvat, `serverless/pytorch/facebookresearch/sam/nuclio/` (`function.yaml`; `main.py`, whose `handler` answers
{"blob": base64 of float32 [1, 256, 64, 64]}) and `cvat-ui/plugins/sam/src/ts/index.tsx`, which takes 64 x 64 and 1024 pixels
for granted and looks for the function's name.
"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import torch

from encoders.errors import InputError, InputWarning
from encoders.export.exportable import exportable
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
from encoders.export.targets.cvat_decoder import CvatDecoder
from encoders.export.targets.python import SEGMENT_FILE, SegmentRuntime
from encoders.export.targets.tool_decoders import TOOL_FRAME, TOOL_MASK, points_shapes
from encoders.export.targets.tool_runtime import one_by_one, without_padding_points
from encoders.sam import Sam

HERE = Path(__file__).parent
OUTPUTS = (*DECODER_OUTPUTS, "xtl", "ytl", "xbr", "ybr", "all_iou_predictions", "all_low_res_masks")
DECODER_NOTE = (
    "CVAT decodes in the browser with the decoder of SAM ViT-H. That is this model's too where only its image encoder was "
    "trained (stage 1); its weights cannot tell. If its decoder was trained, put decoder.onnx of the export in the place of "
    "CVAT's"
)

README = """# For CVAT

`function.yaml`, `main.py`, `segment.py` and `encoder.onnx` are a serverless function in the place of CVAT's own SAM:

    cp -r THIS_FOLDER cvat/serverless/onnx/repvit-sam/nuclio
    cd cvat/serverless && ./deploy_cpu.sh onnx/repvit-sam

It bears the name of CVAT's SAM function, `pth-facebookresearch-sam-vit-h`, because the page decodes for that name alone; so the
two cannot run side by side. It answers {"blob": base64 of float32 [1,256,64,64]}.

**Which decoder.** The page decodes with its own copy of SAM ViT-H's decoder. An image encoder that was distilled to ViT-H's
embeddings and nothing else (stage 1) keeps that decoder, and nothing more is to be done. Whether this model's decoder is
ViT-H's cannot be told from its weights without the checksum of ViT-H's: you have to know how it was trained. If its decoder
was trained too, replace `cvat-ui/plugins/sam/assets/decoder.onnx` by the `decoder.onnx` of this folder, which has the same
inputs and outputs (and two further outputs), and build CVAT's page again. The certificate was measured with this folder's
decoder.
"""


class CvatTarget(OnnxFormat):
    """A nuclio function that embeds, and a decoder for the browser; at 1024 pixels only."""

    name = "cvat"
    elsewhere = ("onnxruntime-web in CVAT's page",)
    padding = "the function normalises, then pads right and below with zeros"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`. Warns that CVAT's page has a decoder of its own.

        Raises:
            InputError: the model is of another size than 1024.
        """
        size = sam.image_size
        if size != TOOL_FRAME:
            raise InputError(
                f"CVAT's page takes embeddings of {TOOL_FRAME} px only, this model is at {size} px; export it with "
                f"--image-size {TOOL_FRAME}, or train one for that size"
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
    """The decoder of one prompt that CVAT's page runs."""
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
    """The function's `segment.py`, and the page's call of the decoder."""

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
