"""What the tools' decoders have in common, in PyTorch: padding points, frames, mask inputs."""

import pytest
import torch

from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.targets.padding_points import decode_settled, settle_padding
from encoders.export.targets.tool_decoders import FramedDecoder

BOX_FIRST, POINTS_FIRST = [[2, 3, 1], [1, 0, -1]], [[1, 0, -1], [2, 3, 1]]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ([1], [1, -1]),
        ([1, 0], [1, 0, -1]),
        ([1, 0, -1], [1, 0, -1]),
        ([1, -1, -1], [1, -1]),
        ([2, 3], [2, 3]),
        ([2, 3, -1], [2, 3]),
        ([1, 2, 3, -1], [1, 2, 3]),
        ([2, 3, 1, 0], [2, 3, 1, 0]),
    ],
)
def test_a_prompt_without_a_box_has_one_padding_point_and_a_prompt_with_a_box_has_none(given, seen):
    coords = 1 + torch.arange(2.0 * len(given)).reshape(1, -1, 2)
    points, labels, hidden = settle_padding(coords, torch.tensor([given]))
    kept = hidden[0] == 0
    assert labels[0, kept].tolist() == seen
    assert torch.equal(points[:, :-1], coords) and points[:, -1].eq(0).all()


@torch.no_grad()
@pytest.mark.parametrize("labels", [POINTS_FIRST, BOX_FIRST, [[1, 0], [2, 3]], [[2, 3, -1], [1, -1, -1]]])
def test_prompts_with_and_without_a_box_in_one_call_are_answered_as_segment_anything_answers_each(demo, labels):
    decoder = PromptDecoder(demo)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 256, 16, 16, generator=generator)
    coords = torch.rand(2, len(labels[0]), 2, generator=generator) * 200
    logits, scores = decode_settled(decoder, image, coords, torch.tensor(labels))
    for row, kinds in enumerate(labels):
        given = [index for index, kind in enumerate(kinds) if kind >= 0]
        own, labels_own = coords[row : row + 1, given], torch.tensor([[kinds[index] for index in given]])
        if 2 not in kinds:
            own, labels_own = torch.nn.functional.pad(own, (0, 0, 0, 1)), torch.nn.functional.pad(labels_own, (0, 1), value=-1)
        expected, expected_scores = decoder.decode(image, decoder.embed_points(own, labels_own))
        assert torch.allclose(logits[row], expected[0], atol=1e-3)
        assert torch.allclose(scores[row], expected_scores[0], atol=1e-5)


def test_points_of_a_larger_frame_are_the_same_points(demo):
    embedding, coords, labels, *rest = FramedDecoder(demo).example()
    embedding = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = FramedDecoder(demo)(embedding, coords, labels, *rest)
        framed = FramedDecoder(demo, frame=1024)(embedding, coords * (1024 / demo.image_size), labels, *rest)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(own, framed, strict=True))


def test_a_mask_of_256_by_256_counts_at_every_size(demo):
    decoder = FramedDecoder(demo)
    embedding, coords, labels, mask, _, shape = decoder.example()
    mask[..., 40:120, 150:200] = 20.0
    with torch.no_grad():
        with_mask = decoder(embedding, coords, labels, mask, torch.ones(1), shape)[2]
        without = decoder(embedding, coords, labels, mask, torch.zeros(1), shape)[2]
    assert with_mask.shape == (2, 4, demo.image_size // 4, demo.image_size // 4)
    assert (with_mask - without).abs().max() > 0.1
