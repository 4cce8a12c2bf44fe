"""The exported decoder against the model's own and against segment-anything's."""

import pytest
import torch
from segment_anything.modeling import Sam as OriginalSam
from segment_anything.utils.onnx import SamOnnxModel
from torch import nn

import encoders
from encoders.export.modules.prompt_decoder import PromptDecoder, SamOnnxDecoder

SIZE = 128


@pytest.fixture(scope="module")
def sam() -> encoders.Sam:
    return encoders.load("sam_demo", image_size=SIZE)


@pytest.fixture(scope="module")
def embedding() -> torch.Tensor:
    return torch.randn(1, 256, SIZE // 16, SIZE // 16, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_points_and_boxes_are_labelled_points(sam, embedding):
    points = torch.tensor([[[20.0, 90], [100, 10]], [[7, 8], [60, 120]]])
    labels = torch.tensor([[1, 0], [1, 1]])
    boxes = torch.tensor([[10.0, 40, 90, 110], [5, 6, 33, 77]])
    index = torch.zeros(2, dtype=torch.long)
    expected = sam.decode_all(embedding, image_index=index, points=points, labels=labels, boxes=boxes)
    coords = torch.cat([points, boxes.view(2, 2, 2)], dim=1)
    found = PromptDecoder(sam)(embedding, coords, torch.cat([labels, torch.tensor([[2, 3], [2, 3]])], dim=1))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_points_without_a_box_end_with_a_padding_point(sam, embedding):
    points, labels = torch.tensor([[[20.0, 90]], [[100, 31]]]), torch.tensor([[1], [0]])
    expected, _ = sam.decode_all(embedding, image_index=torch.zeros(2, dtype=torch.long), points=points, labels=labels)
    decoder = PromptDecoder(sam)
    found, _ = decoder(embedding, torch.cat([points, torch.zeros(2, 1, 2)], 1), torch.cat([labels, -torch.ones(2, 1)], 1))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    without, _ = decoder(embedding, points, labels)
    assert (without - expected).abs().max() > 0.1


class _Never(nn.Module):
    img_size = SIZE


@pytest.mark.parametrize("shape", [(97, 41), (37, 128), (1, 90), (200, 300)])
@pytest.mark.parametrize("with_mask", [0.0, 1.0])
@torch.inference_mode()
def test_it_is_segment_anythings_onnx_model_at_every_photo_size(sam, embedding, shape, with_mask):
    original = SamOnnxModel(OriginalSam(_Never(), sam.prompt_encoder, sam.mask_decoder).eval(), return_single_mask=False)
    given = {
        "image_embeddings": embedding,
        "point_coords": torch.tensor([[[20.0, 90], [10, 40], [90, 110]]]),
        "point_labels": torch.tensor([[1.0, 2, 3]]),
        "mask_input": torch.randn(1, 1, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(1)),
        "has_mask_input": torch.tensor([with_mask]),
        "orig_im_size": torch.tensor([float(shape[0]), float(shape[1])]),
    }
    expected, found = original(**given), SamOnnxDecoder(sam)(**given)
    assert found[0].shape == (1, 4, *shape)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_minus_one_means_no_mask_as_zero_does(sam, embedding):
    decoder = SamOnnxDecoder(sam)
    coords, labels = torch.tensor([[[20.0, 90], [0, 0]]]), torch.tensor([[1.0, -1]])
    mask, size = torch.full((1, 1, SIZE // 4, SIZE // 4), 9.0), torch.tensor([50.0, 60])
    none, minus, given = (decoder(embedding, coords, labels, mask, torch.tensor([v]), size)[2] for v in (0.0, -1.0, 1.0))
    assert torch.equal(none, minus) and not torch.allclose(none, given, atol=0.1)


def test_the_model_it_was_made_from_can_change_without_it(sam):
    decoder = PromptDecoder(sam)
    before = decoder.mask_decoder.mask_tokens.weight.clone()
    with torch.no_grad():
        sam.mask_decoder.mask_tokens.weight.add_(1)
        unchanged = torch.equal(decoder.mask_decoder.mask_tokens.weight, before)
        sam.mask_decoder.mask_tokens.weight.sub_(1)
    assert unchanged
