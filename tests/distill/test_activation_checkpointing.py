"""Blocks that are computed twice give the gradients and statistics of blocks that are computed once."""

import pytest
import torch
from torch import nn

import encoders
from distill.activation_checkpointing import checkpoint_blocks
from encoders.errors import InputError


def trained_step(encoder):
    """One forward and backward pass on fixed images; gradients and buffers."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    encoder.train()(images).square().mean().backward()
    return {name: value.grad for name, value in encoder.named_parameters()}, dict(encoder.named_buffers())


@pytest.mark.parametrize("arch", ["repvit_m0_6", "tiny_vit"])
def test_gradients_and_batchnorm_statistics_are_those_without_checkpoints(arch):
    found = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        encoder = encoders.build_image_encoder(arch, image_size=64)
        names = list(encoder.state_dict())
        if checkpointed:
            checkpoint_blocks(encoder)
            assert list(encoder.state_dict()) == names
        torch.manual_seed(0)
        found.append(trained_step(encoder))
    for kind in range(2):
        for name, value in found[0][kind].items():
            torch.testing.assert_close(found[1][kind][name], value, msg=name)


def kept_for_backward(encoder):
    """Numbers that a forward pass keeps for the backward pass."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()), lambda _: None):
        encoder.train()(torch.randn(1, 3, 64, 64))
    return sum(sizes)


def test_less_is_kept_for_the_backward_pass():
    plain, checkpointed = (encoders.build_image_encoder("repvit_m0_6", image_size=64) for _ in range(2))
    checkpoint_blocks(checkpointed)
    assert kept_for_backward(checkpointed) < 0.6 * kept_for_backward(plain)


def test_an_encoder_without_blocks_is_refused():
    with pytest.raises(InputError, match="Sequential has none"):
        checkpoint_blocks(nn.Sequential(nn.Linear(2, 2)))
