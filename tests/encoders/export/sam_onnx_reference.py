"""segment-anything's own ONNX model in PyTorch, for decoders that promise its contract, and prompts to ask both with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from segment_anything.utils.onnx import SamOnnxModel
from torch import nn

import encoders

# P, N, has_mask_input, (height, width) of the photo: landscape, portrait, one pixel wide, one pixel high, larger and smaller.
CASES = [
    pytest.param(1, 2, 0, (48, 64), id="one_box_landscape"),
    pytest.param(3, 3, 1, (200, 31), id="three_prompts_with_a_mask_portrait"),
    pytest.param(2, 5, -1, (37, 41), id="minus_one_is_no_mask"),
    pytest.param(1, 1, 1, (90, 1), id="one_pixel_wide"),
    pytest.param(4, 2, 0, (1, 100), id="one_pixel_high"),
    pytest.param(1, 9, 1, (333, 500), id="nine_points"),
]


def reference_model(sam: encoders.Sam) -> SamOnnxModel:
    """`SamOnnxModel` with the weights of `sam`; called in PyTorch, never exported."""
    holder = nn.Module()
    holder.prompt_encoder, holder.mask_decoder = sam.prompt_encoder, sam.mask_decoder
    holder.image_encoder = SimpleNamespace(img_size=sam.image_size)
    return SamOnnxModel(holder, return_single_mask=False).eval()


def decoder_inputs(
    *, prompts: int, points: int, has_mask: int, shape: tuple[int, int], image_size: int
) -> dict[str, np.ndarray]:
    """Inputs by segment-anything's names: points off the diagonal, every label from -1 to 3."""
    generator = np.random.default_rng([prompts, points, *shape])
    side = image_size // 16
    labels = np.resize(np.asarray([2, 3, -1, 1, 0], np.float32), (prompts, points))
    return {
        "image_embeddings": generator.standard_normal((1, 256, side, side), np.float32),
        "point_coords": (generator.random((prompts, points, 2)) * [image_size, image_size / 3]).astype(np.float32),
        "point_labels": labels,
        "mask_input": generator.standard_normal((1, 1, image_size // 4, image_size // 4), np.float32) * 5,
        "has_mask_input": np.asarray([has_mask], np.float32),
        "orig_im_size": np.asarray(shape, np.float32),
    }


def expected_outputs(sam: encoders.Sam, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """masks, iou_predictions, low_res_masks of segment-anything; it multiplies by `has_mask_input`, so that "none" is 0."""
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    given["has_mask_input"] = given["has_mask_input"].clamp(min=0)
    return [value.numpy() for value in reference_model(sam)(**given)]
