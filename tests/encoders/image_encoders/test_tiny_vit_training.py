"""What TinyViT's training needs beyond its forward pass."""

import subprocess
import sys

import pytest
import torch

from encoders.image_encoders.tiny_vit import WindowAttention


@pytest.fixture
def attention():
    """Windows of 14 x 14 positions, five heads, on two threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    yield WindowAttention(160, 32, 5, attn_ratio=1, resolution=(14, 14))
    torch.set_num_threads(threads)


@pytest.fixture
def busy_cores():
    """Two processes that compete for the cores, so that threads overtake each other."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for other in others:
        other.kill()
        other.wait()


def gradient(attention, weights):
    attention.attention_biases.grad = None
    (attention.get_attention_biases(torch.device("cpu")) * weights).sum().backward()
    return attention.attention_biases.grad.clone()


def test_the_bias_and_its_gradient_are_those_of_plain_indexing(attention):
    weights = torch.randn(5, 196, 196)
    trained = gradient(attention, weights)
    bias = attention.get_attention_biases(torch.device("cpu"))
    attention.eval()
    assert torch.equal(bias, attention.get_attention_biases(torch.device("cpu"))) and bias.shape == (5, 196, 196)
    torch.testing.assert_close(trained, gradient(attention, weights), atol=1e-4, rtol=1e-4)


def test_gradients_repeat_whatever_else_the_machine_does(attention, busy_cores):
    weights = torch.randn(5, 196, 196)
    first = gradient(attention, weights)
    assert all(torch.equal(first, gradient(attention, weights)) for _ in range(200))
