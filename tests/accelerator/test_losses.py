"""All losses of the embedding stage on a pretended GPU: nothing is copied to it or waited for in a step."""

import torch

from distill.config.losses import EmbeddingLossConfig
from distill.losses import ChannelScale, embedding_losses
from tests.accelerator.pretend import CUDA, pretended_gpu
from tests.accelerator.test_batches import made_batch

WEIGHTS = EmbeddingLossConfig(mse=1, plain_mse=1, l1=1, huber=1, cosine=1, normalize="channel")


def test_losses_normalised_by_channel_wait_for_nothing_after_the_first_step():
    torch.manual_seed(0)
    scale = ChannelScale(torch.randn(1, 256, 1, 1), torch.rand(1, 256, 1, 1) + 0.5)
    batch = made_batch("int8")
    here = batch.to_device("cpu")
    student = torch.randn(here.teacher.shape)
    expected = embedding_losses(student, here.teacher, here.valid, weights=WEIGHTS, scale=scale)
    with pretended_gpu() as counts:
        there, moved = batch.pin_memory().to_device(CUDA), student.to(CUDA)
        scale = scale.to(CUDA)
        assert scale.mean.device == CUDA and scale.to(CUDA) is scale
        waited, launched = counts.waited, counts.launched
        found = embedding_losses(moved, there.teacher, there.valid, weights=WEIGHTS, scale=scale.to(moved.device))
        assert counts.waited == waited, counts
        assert counts.launched - launched <= 80, counts.kernels
        found = {name: float(value.cpu()) for name, value in found.items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(torch.tensor(found[name]), value, rtol=1e-5, atol=1e-6)
