"""The pretended GPU itself: it refuses what CUDA refuses, counts what CUDA would do, and computes what the CPU computes."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.accelerator.pretend import CUDA, Counts, on_gpu, pretended_gpu


def test_tensors_say_that_they_are_on_the_gpu_and_come_back_equal():
    given = torch.randn(2, 3)
    with pretended_gpu():
        there = given.to(CUDA)
        assert (there.device, there.is_cuda, (there * 2).device) == (CUDA, True, CUDA)
        back = there.cpu()
    assert back.device.type == "cpu" and torch.equal(back, given)


def test_operands_on_two_devices_are_refused():
    with pretended_gpu():
        there = torch.ones(3, device=CUDA)
        with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
            there + torch.ones(3)
        assert float((there + torch.tensor(1.0)).sum()) == 6  # a scalar may lie on the host


def test_numpy_does_not_read_device_memory():
    with pretended_gpu():
        there = torch.ones(3, device=CUDA)
        for read in (lambda: there.numpy(), lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="can't convert cuda:0"):
                read()


@pytest.mark.parametrize(
    "wait",
    [
        lambda there: there.sum().item(),
        lambda there: float(there[0]),
        lambda there: bool((there > 0).all()),
        lambda there: there.cpu(),
        lambda there: there.tolist(),
        lambda there: there[there > 0],
        lambda there: torch.nonzero(there),
        lambda there: there + torch.ones(3).to(CUDA),
    ],
)
def test_what_makes_the_host_wait_is_counted(wait):
    with pretended_gpu() as counts:
        there = torch.zeros(3, device=CUDA)
        assert counts.waited == 0
        wait(there)
    assert counts.waited == 1


def test_a_copy_from_pinned_memory_makes_nobody_wait():
    with pretended_gpu() as counts:
        torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
        assert (counts.waited, counts.to_device["pinned"]) == (0, 1)
        torch.ones(3).pin_memory().to(CUDA)
    assert counts.waited == 1


def test_views_launch_no_kernel():
    with pretended_gpu() as counts:
        there = torch.ones(4, 6, device=CUDA)
        before = counts.launched
        there.view(6, 4).transpose(0, 1)[1:, None].expand(3, 2, 6).flatten(0, 0)
        assert counts.launched == before
        there + 1
    assert counts.launched == before + 1


def test_a_backward_pass_gives_the_gradients_of_the_cpu():
    torch.manual_seed(0)
    model, given = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU()), torch.randn(2, 3, 7, 9)
    model(given).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    with pretended_gpu() as counts:
        on_gpu(model)
        model(given.to(CUDA)).square().mean().backward()
        found = [parameter.grad for parameter in model.parameters()]
        assert all(gradient.device == CUDA for gradient in found)
        assert all(torch.equal(gradient.cpu(), value) for gradient, value in zip(found, expected, strict=True))
    assert isinstance(counts, Counts) and counts.kernels["convolution_backward"] == 1
