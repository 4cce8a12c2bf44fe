"""transformers.js, and optimum's split of SAM: vision encoder, prompt encoder with mask decoder, and both configurations.

Source: huggingface/optimum-onnx, `optimum/exporters/onnx/model_configs.py` (`SamOnnxConfig`) and `model_patcher.py`
(`SAMModelPatcher`): names, shapes and the three masks of multimask. huggingface/transformers.js,
`packages/transformers/src/models/sam/modeling_sam.js` (`SamModel`), `image_processing_sam.js` (`SamImageProcessor`),
`image_processors_utils.js` (`ImageProcessor`). huggingface/transformers, `models/sam/modeling_sam.py` (`SamPromptEncoder`):
label -10 is a point that embeds to zeros.

`SamModel` passes `input_boxes` on, but optimum's decoder has no such input. Here a box is two points, labelled 2 and 3, as in
segment-anything's own ONNX decoder. Two more outputs hold the single mask, which is the one to use for boxes and several
points.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoders.contract import EMBED_DIM, MASK_STRIDE, PIXEL_MEAN, PIXEL_STD, STRIDE
from encoders.export.formats.base import no_mask_input
from encoders.export.formats.onnx import MAX_POINTS, MAX_PROMPTS, OnnxFormat, OnnxRuntime, write_onnx
from encoders.export.modules.exportable import exportable
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.targets.padding_points import decode_settled
from encoders.export.targets.tool_runtime import without_padding_points
from encoders.sam import Sam

ENCODER, DECODER = "onnx/vision_encoder.onnx", "onnx/prompt_encoder_mask_decoder.onnx"
ENCODER_OUTPUTS = ("image_embeddings", "image_positional_embeddings")
DECODER_INPUTS = ("input_points", "input_labels", *ENCODER_OUTPUTS)
DECODER_OUTPUTS = ("iou_scores", "pred_masks", "single_iou_scores", "single_pred_masks")
IGNORED = -10  # label of a point that embeds to zeros
MAX_BATCH = 256

README = """# For transformers.js

Put this folder among the models that your app serves, for example as `models/repvit-sam/`:

    import {{ env, SamModel, AutoProcessor, RawImage }} from '@huggingface/transformers';
    env.allowRemoteModels = false;
    env.localModelPath = 'models/';
    const model = await SamModel.from_pretrained('repvit-sam', {{ dtype: 'fp32' }});
    const processor = await AutoProcessor.from_pretrained('repvit-sam');
    const image = await RawImage.read('photo.jpg');

    // One point: three masks; use the one with the highest iou_scores.
    let inputs = await processor(image, {{ input_points: [[[250, 180]]] }});
    let outputs = await model(inputs);
    let masks = await processor.post_process_masks(outputs.pred_masks, inputs.original_sizes, inputs.reshaped_input_sizes);

A box is two points, labelled 2 (top left) and 3 (bottom right). `input_boxes` is refused, as it is by every SAM that optimum
exports:

    inputs = await processor(image, {{ input_points: [[[120, 40], [380, 300]]], input_labels: [[2, 3]] }});

For boxes and several points use the single mask, which `SamModel` does not return; ask its decoder for it:

    const {{ image_embeddings, image_positional_embeddings }} = await model.get_image_embeddings(inputs);
    const {{ input_points, input_labels }} = inputs;
    const {{ single_pred_masks }} = await model.forward({{
        input_points, input_labels, image_embeddings, image_positional_embeddings }});

The encoder works on photos with their long side at {size} pixels, as `config.json` and `preprocessor_config.json` state.

# For optimum

Move the two files out of `onnx/`, beside `config.json`: that is the layout of `optimum-cli export onnx` for SAM. Batches of
images and of prompts can have any size. The two outputs whose names begin with `single_` are additional.
"""


class VisionEncoder(nn.Module):
    """pixel_values (B, 3, S, S) float32, SAM-normalised and padded with zeros -> embedding and positional embedding."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.encoder = exportable(sam.image_encoder)
        self.places: Tensor
        self.register_buffer("places", sam.prompt_encoder.get_dense_pe().detach().clone())
        self.eval()

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding and the positional embedding, (B, 256, S/16, S/16) each."""
        return self.encoder(pixel_values), self.places.expand(pixel_values.shape[0], -1, -1, -1)


class PromptEncoderMaskDecoder(PromptDecoder):
    """A `PromptDecoder` for B images with P prompts each, with optimum's names."""

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """As `PromptDecoder.embed_points`; points labelled -10 embed to zeros."""
        embedded = super().embed_points(coords, labels)
        return embedded * (labels != IGNORED).to(embedded.dtype).unsqueeze(-1)

    def forward(  # type: ignore[override]
        self, input_points: Tensor, input_labels: Tensor, image_embeddings: Tensor, image_positional_embeddings: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode the prompts of each image.

        Args:
            input_points: (B, P, N, 2) float32 xy in the input frame.
            input_labels: (B, P, N) int64; 1 foreground, 0 background, 2 and 3 a box's corners, -1 and -10 as in transformers.
            image_embeddings: (B, 256, S/16, S/16).
            image_positional_embeddings: the same shape; not read, because the decoder contains them and they never change.

        Returns:
            iou_scores (B, P, 3), pred_masks (B, P, 3, S/4, S/4) logits, and the same of the single mask, (B, P, 1) and
            (B, P, 1, S/4, S/4).
        """
        batch, prompts = input_points.shape[0], input_points.shape[1]
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        spread = (image_embeddings + no_mask).unsqueeze(1).expand(-1, prompts, -1, -1, -1).flatten(0, 1)
        logits, scores = decode_settled(self, spread, input_points.flatten(0, 1), input_labels.flatten(0, 1))
        logits = logits.reshape(batch, prompts, *logits.shape[1:])
        scores = scores.reshape(batch, prompts, -1)
        return scores[:, :, 1:], logits[:, :, 1:], scores[:, :, :1], logits[:, :, :1]


class TransformersJsTarget(OnnxFormat):
    """A folder of `config.json`, `preprocessor_config.json`, and `onnx/` with both models."""

    name = "transformers.js"
    elsewhere = ("transformers.js",)

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        (folder / "onnx").mkdir()
        size, side = sam.image_size, sam.image_size // STRIDE
        batch, prompts, points = (
            torch.export.Dim(name, min=1, max=most)
            for name, most in (("batch_size", MAX_BATCH), ("point_batch_size", MAX_PROMPTS), ("nb_points", MAX_POINTS))
        )
        write_onnx(
            VisionEncoder(sam),
            folder / ENCODER,
            example=(torch.zeros(2, 3, size, size),),
            inputs=("pixel_values",),
            outputs=ENCODER_OUTPUTS,
            dynamic_shapes=({0: batch},),
        )
        many = {0: batch, 1: prompts, 2: points}
        write_onnx(
            PromptEncoderMaskDecoder(sam),
            folder / DECODER,
            example=(
                torch.rand(2, 3, 4, 2) * size,
                torch.ones(2, 3, 4, dtype=torch.int64),
                torch.zeros(2, EMBED_DIM, side, side),
                torch.zeros(2, EMBED_DIM, side, side),
            ),
            inputs=DECODER_INPUTS,
            outputs=DECODER_OUTPUTS,
            dynamic_shapes=(many, many, {0: batch}, {0: batch}),
        )
        for name, content in (("config.json", model_config(size)), ("preprocessor_config.json", processor_config(size))):
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(README.format(size=size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "TransformersRuntime":
        """See `Format.open`."""
        return TransformersRuntime(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)


class TransformersRuntime(OnnxRuntime):
    """Runs the files with the calls that `SamModel` makes."""

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        embedding, self._places = self._encoder.run(ENCODER_OUTPUTS, {"pixel_values": image})
        return np.asarray(embedding, np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""
        no_mask_input(masks)
        kept = without_padding_points(coords, labels)[1].shape[1]  # either all prompts end with padding or none does
        given = {
            "input_points": coords[None, :, :kept].astype(np.float32),
            "input_labels": labels[None, :, :kept].astype(np.int64),
            "image_embeddings": embedding,
            "image_positional_embeddings": np.zeros_like(embedding),
        }
        scores, logits, single_scores, single_logits = self._decoder.run(DECODER_OUTPUTS, given)
        joined = np.concatenate([single_logits, logits], axis=2), np.concatenate([single_scores, scores], axis=2)
        return joined[0][0], joined[1][0]


def model_config(image_size: int) -> dict[str, Any]:
    """Return `config.json`, which transformers' `SamConfig` and transformers.js read.

    Its vision part states SAM's shapes; only the ONNX file describes the encoder's layers.
    """
    side = image_size // STRIDE
    return {
        "model_type": "sam",
        "architectures": ["SamModel"],
        "torch_dtype": "float32",
        "vision_config": {
            "model_type": "sam_vision_model",
            "image_size": image_size,
            "patch_size": STRIDE,
            "num_channels": 3,
            "output_channels": EMBED_DIM,
        },
        "prompt_encoder_config": {
            "image_size": image_size,
            "patch_size": STRIDE,
            "image_embedding_size": side,
            "hidden_size": EMBED_DIM,
            "mask_input_channels": 16,
            "num_point_embeddings": 4,
        },
        "mask_decoder_config": {
            "hidden_size": EMBED_DIM,
            "num_multimask_outputs": 3,
            "iou_head_depth": 3,
            "iou_head_hidden_dim": 256,
            "mlp_dim": 2048,
            "num_attention_heads": 8,
            "num_hidden_layers": 2,
        },
        "transformers.js_config": {"dtype": "fp32"},
    }


def processor_config(image_size: int) -> dict[str, Any]:
    """Return `preprocessor_config.json`: SAM's preprocessing in [0, 1], for `SamImageProcessor` of both libraries."""
    return {
        "processor_class": "SamProcessor",
        "image_processor_type": "SamImageProcessor",
        "feature_extractor_type": "SamImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": image_size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [round(value / 255, 6) for value in PIXEL_MEAN],
        "image_std": [round(value / 255, 6) for value in PIXEL_STD],
        "do_pad": True,
        "pad_size": {"height": image_size, "width": image_size},
        "mask_size": {"longest_edge": image_size // MASK_STRIDE},
        "mask_pad_size": {"height": image_size // MASK_STRIDE, "width": image_size // MASK_STRIDE},
    }
