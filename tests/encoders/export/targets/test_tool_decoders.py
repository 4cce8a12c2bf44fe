"""What the tools' decoders have in common, in PyTorch: padding points, frames, mask inputs."""

import pytest
import torch

from encoders.export.targets.tool_decoders import FramedDecoder, settle_padding


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ([1], [1, -1]),
        ([1, 0], [1, 0, -1]),
        ([1, 0, -1], [1, 0, -1]),
        ([2, 3], [2, 3]),
        ([2, 3, -1], [2, 3]),
        ([1, 2, 3, -1], [1, 2, 3]),
        ([2, 3, 1, 0], [2, 3, 1, 0]),
    ],
)
def test_prompts_without_a_box_end_with_one_padding_point_and_prompts_with_a_box_with_none(given, settled):
    coords = torch.arange(4.0 * len(given)).reshape(2, -1, 2)
    points, labels = settle_padding(coords, torch.tensor([given, given]))
    assert labels.tolist() == [settled, settled]
    kept = min(len(given), len(settled))
    assert torch.equal(points[:, :kept], coords[:, :kept])
    assert points[:, kept:].eq(0).all()


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
