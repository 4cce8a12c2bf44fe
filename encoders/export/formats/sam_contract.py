"""segment-anything's decoder contract, shared by the ONNX and OpenVINO formats: names, example inputs, and decoding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from encoders.contract import EMBED_DIM, MASK_STRIDE, STRIDE

DECODER_INPUTS = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
DECODER_OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
MAX_PROMPTS, MAX_POINTS = 1024, 64  # of a call

Ask = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]


def decoder_example(*, image_size: int) -> tuple[tuple[torch.Tensor, ...], Any]:
    """Return example inputs of a `SamOnnxDecoder`, and which of their dimensions are dynamic: those of prompts and points."""
    side = image_size // STRIDE
    example = (
        torch.zeros(1, EMBED_DIM, side, side),
        torch.tensor([[[10.0, 20.0], [30.0, 50.0], [0.0, 0.0]]]).repeat(2, 1, 1),
        torch.tensor([[2.0, 3.0, -1.0]]).repeat(2, 1),
        torch.zeros(1, 1, image_size // MASK_STRIDE, image_size // MASK_STRIDE),
        torch.zeros(1),
        torch.tensor([48.0, 64.0]),
    )
    prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
    points = torch.export.Dim("points", min=1, max=MAX_POINTS)
    return example, ({}, {0: prompts, 1: points}, {0: prompts, 1: points}, {}, {}, {})


def decode_by_sam_contract(
    ask: Ask,
    *,
    embedding: np.ndarray,
    coords: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray | None,
    image_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Implement `Runtime.decode` with a decoder of this contract.

    Prompts with masks are decoded one by one, because the contract takes only one mask.

    Args:
        ask: inputs by name -> low_res_masks and iou_predictions.
    """
    if masks is not None and len(masks) > 1:
        each = [
            decode_by_sam_contract(
                ask,
                embedding=embedding,
                coords=coords[i : i + 1],
                labels=labels[i : i + 1],
                masks=masks[i : i + 1],
                image_size=image_size,
            )
            for i in range(len(masks))
        ]
        logits, scores = (np.concatenate(values) for values in zip(*each, strict=True))
        return logits, scores
    side = image_size // MASK_STRIDE
    return ask(
        {
            "image_embeddings": embedding,
            "point_coords": np.asarray(coords, np.float32),
            "point_labels": np.asarray(labels, np.float32),
            "mask_input": np.zeros((1, 1, side, side), np.float32) if masks is None else np.asarray(masks, np.float32),
            "has_mask_input": np.asarray([masks is not None], np.float32),
            "orig_im_size": np.asarray([16, 16], np.float32),  # the masks of the photo's size are not used here
        }
    )
