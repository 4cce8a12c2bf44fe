"""Prompts of several images in one pass against the stock decoder, image by image."""

import pytest
import torch

from encoders.sam import Sam

SIZE = 128


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(Sam(arch="none", image_encoder=torch.nn.Conv2d(1, 1, 1), image_size=SIZE)).eval()


@pytest.fixture(scope="module")
def embeddings():
    return torch.randn(3, 256, 8, 8, generator=torch.Generator().manual_seed(0))


def stock(sam, embedding, *, multimask, points=None, labels=None, boxes=None, masks=None):
    """segment-anything's own way: one image, its prompts, `mask_decoder.forward`."""
    sparse, dense = sam.prompt_encoder(
        points=None if points is None else (points, labels), boxes=boxes, masks=masks
    )
    return sam.mask_decoder(
        image_embeddings=embedding[None],
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )


INDEX = torch.tensor([2, 0, 2, 1, 0])


def prompts_of(kind):
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(5, 2, 2, generator=generator) * SIZE
    corners = torch.rand(5, 2, generator=generator) * 60
    every = {
        "points": points,
        "labels": torch.tensor([[1, 0], [1, 1], [1, -1], [0, 1], [1, 1]]),
        "boxes": torch.cat([corners, corners + torch.tensor([50.0, 30.0])], dim=1),
        "masks": torch.randn(5, 1, 32, 32, generator=generator),
    }
    return {name: every[name] for name in kind}


@pytest.mark.parametrize(
    "kind",
    [
        ("points", "labels"),
        ("boxes",),
        ("masks",),
        ("points", "labels", "boxes"),
        ("points", "labels", "boxes", "masks"),
    ],
)
@pytest.mark.parametrize("multimask", [True, False])
def test_one_pass_equals_the_stock_decoder_image_by_image(sam, embeddings, kind, multimask):
    prompts = prompts_of(kind)
    with torch.inference_mode():
        logits, scores = sam.decode(embeddings, image_index=INDEX, multimask=multimask, **prompts)
        for image in range(3):
            chosen = torch.eq(INDEX, image)
            own = {name: value[chosen] for name, value in prompts.items()}
            expected, expected_scores = stock(sam, embeddings[image], multimask=multimask, **own)
            assert (logits[chosen] - expected).abs().max() <= 1e-4
            assert (scores[chosen] - expected_scores).abs().max() <= 1e-4
    assert logits.shape == (5, 3 if multimask else 1, 32, 32)
    assert logits.std() > 1e-3


def test_an_embedding_of_another_image_gives_another_mask(sam, embeddings):
    prompt = {"boxes": torch.tensor([[10.0, 20.0, 90.0, 50.0]]).expand(2, 4)}
    with torch.inference_mode():
        logits, _ = sam.decode(embeddings, image_index=torch.tensor([0, 1]), **prompt)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_all_four_tokens(sam, embeddings):
    prompts = prompts_of(("boxes",))
    with torch.inference_mode():
        every, scores = sam.decode_all(embeddings, image_index=INDEX, **prompts)
        three, _ = sam.decode(embeddings, image_index=INDEX, multimask=True, **prompts)
        single, _ = sam.decode(embeddings, image_index=INDEX, multimask=False, **prompts)
    assert scores.shape == (5, 4)
    assert torch.equal(every, torch.cat([single, three], dim=1))


def test_gradients_reach_every_image(sam, embeddings):
    inputs = embeddings.clone().requires_grad_()
    logits, _ = sam.decode(inputs, image_index=torch.tensor([0, 2]), boxes=torch.tensor([[1.0, 2, 50, 90]] * 2))
    logits.square().mean().backward()
    moved = inputs.grad.abs().amax(dim=(1, 2, 3)) > 0
    assert moved.tolist() == [True, False, True]


def test_logits_are_brought_back_to_a_photo_that_is_not_square(sam):
    """A step edge at the photo's middle column: 60 x 120 fills the upper half of the frame."""
    logits = torch.full((1, 1, 32, 32), -1.0)
    logits[..., 16:] = 1.0
    logits[:, :, 16:] = 9.0  # padding, must not be seen far from the border
    up = sam.upscale(logits, shape=(60, 120))
    assert up.shape == (1, 1, 60, 120)
    assert (up[0, 0, :55, :58] < 0).all()
    assert (up[0, 0, :55, 62:] > 0).all()
