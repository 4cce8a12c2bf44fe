"""X-AnyLabeling's model type `edge_sam`: nothing is warped, photos keep their shape at the model's own size.

Source: CVHub520/X-AnyLabeling, `anylabeling/services/auto_labeling/__base__/sam.py` (`EdgeSAMONNX`) and `edge_sam.py`
(`EdgeSAM`, which reads `target_length` from the yaml).

The tool gives uint8 (1, 3, H, W) with its long side at `target_length`, unpadded, and no padding point. It reads the outputs by
their order, scores and then masks, and chooses a mask by its stability, not by the scores.
"""

from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from encoders.export.formats.onnx import DECODER, ENCODER, OnnxFormat, write_onnx
from encoders.export.modules.exportable import exportable
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.targets.padding_points import decode_settled
from encoders.export.targets.photo_encoder import PhotoEncoder
from encoders.export.targets.tool_decoders import points_example, points_shapes
from encoders.export.targets.tool_runtime import PhotoToolRuntime, without_padding_points
from encoders.sam import Sam

README = """# For X-AnyLabeling, as a model of the type edge_sam

In X-AnyLabeling choose "Load Custom Model" in the list of models and open `config.yaml`; keep the ONNX files beside it. Do not
change `target_length` in it: it is the model's own size, {size} pixels.

Unlike the type segment_anything, this one does not squeeze photos into 1024 x 684 pixels, so the model sees portrait photos at
full size.
"""


class EdgeSamDecoder(PromptDecoder):
    """`PromptDecoder` that adds the padding point itself and returns its outputs in EdgeSAM's order."""

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `PromptDecoder.forward`, without padding points -> predicted IoU (P, 4), logits (P, 4, S/4, S/4)."""
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        logits, scores = decode_settled(self, image_embeddings + no_mask, point_coords, point_labels)
        return scores, logits


class EdgeSamRuntime(PhotoToolRuntime):
    """Runs this target's files with the calls that the tool makes."""

    def _decode(self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points, kinds = without_padding_points(coords, labels)
        given = {"image_embeddings": embedding, "point_coords": points, "point_labels": kinds.astype(np.float32)}
        scores, logits = self._decoder.run(None, given)
        return logits, scores


class XAnyLabelingEdgeSamTarget(OnnxFormat):
    """Encoder uint8 (1, 3, H, W) -> image_embeddings; decoder that takes points alone -> scores, masks."""

    name = "x-anylabeling-edge-sam"
    padding = "the encoder normalises and pads with zeros"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        encoder = PhotoEncoder(exportable(sam.image_encoder), image_size=sam.image_size, channels_last=False, trim=False)
        write_onnx(
            encoder,
            folder / ENCODER,
            example=(encoder.example(),),
            inputs=("image",),
            outputs=("image_embeddings",),
            dynamic_shapes=encoder.dynamic_shapes(),
        )
        side = sam.image_size // 16
        write_onnx(
            EdgeSamDecoder(sam),
            folder / DECODER,
            example=(torch.zeros(1, 256, side, side), *points_example()),
            inputs=("image_embeddings", "point_coords", "point_labels"),
            outputs=("scores", "masks"),
            dynamic_shapes=({}, *points_shapes()),
        )
        (folder / "config.yaml").write_text(yaml.safe_dump(edge_sam_config(sam), sort_keys=False), encoding="utf-8")
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> EdgeSamRuntime:
        """See `Format.open`."""
        return EdgeSamRuntime(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)


def edge_sam_config(sam: Sam) -> dict[str, str | int]:
    """Return the configuration that X-AnyLabeling reads for a model of type `edge_sam`."""
    return {
        "type": "edge_sam",
        "name": f"repvit_sam-{sam.arch}-{sam.image_size}-edge_sam",
        "provider": "Others",
        "display_name": f"RepViT-SAM ({sam.arch}, {sam.image_size} px, unwarped)",
        "encoder_model_path": ENCODER,
        "decoder_model_path": DECODER,
        "target_length": sam.image_size,
    }
