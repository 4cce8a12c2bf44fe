"""Points are embedded as segment-anything embeds them."""

import pytest
import torch
from segment_anything.modeling import PromptEncoder as StockPromptEncoder

from encoders.sam import build_prompt_encoder

SIZE = 128


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    stock = StockPromptEncoder(
        embed_dim=256, image_embedding_size=(8, 8), input_image_size=(SIZE, SIZE), mask_in_chans=16
    )
    ours = build_prompt_encoder(SIZE)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


@pytest.mark.parametrize("with_boxes", [False, True])
def test_points_of_every_label_equal_the_stock_encoders(pair, with_boxes):
    stock, ours = pair
    points = torch.rand(5, 4, 2) * SIZE
    labels = torch.tensor([[1, 0, -1, 1], [0, 0, 0, 0], [-1, -1, -1, -1], [1, 1, 1, 1], [0, 1, 0, -1]])
    boxes = torch.rand(5, 4) * SIZE if with_boxes else None
    for expected, found in zip(stock((points, labels), boxes, None), ours((points, labels), boxes, None), strict=True):
        assert torch.equal(found, expected)


def test_gradients_of_the_embeddings_equal_the_stock_encoders(pair):
    points, labels = torch.rand(3, 2, 2) * SIZE, torch.tensor([[1, 0], [1, -1], [0, -1]])
    for encoder in pair:
        encoder.zero_grad()
        encoder((points, labels), None, None)[0].square().sum().backward()
    for (name, expected), found in zip(pair[0].named_parameters(), pair[1].parameters(), strict=True):
        if expected.grad is not None:
            assert torch.allclose(found.grad, expected.grad, rtol=1e-5), name
