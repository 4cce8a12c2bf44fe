"""Models on a pretended GPU: no operand on another device, nothing that waits, and the CPU's numbers."""

import pytest
import torch

import encoders
from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu

SIZE = 64


@pytest.mark.parametrize("arch", ["repvit_m0_6", "repvit_m1_1", "tiny_vit", "sam_demo", "sam_vit_b"])
def test_an_encoder_gives_the_cpus_embedding_without_waiting(arch):
    torch.manual_seed(0)
    encoder = encoders.build_image_encoder(arch, image_size=SIZE).eval()
    image = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = encoder(image)
        with pretended_gpu() as counts:
            given = image.pin_memory().to(CUDA, non_blocking=True)
            found = on_gpu(encoder)(given)
            assert (found.device, counts.waited) == (CUDA, 0), counts
            torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5 if arch == "sam_vit_b" else 0)


def test_training_a_student_waits_for_nothing():
    torch.manual_seed(0)
    encoder = encoders.build_image_encoder("repvit_m0_6", image_size=SIZE)
    image = torch.randn(2, 3, SIZE, SIZE)
    encoder(image).square().mean().backward()
    expected = {name: parameter.grad.clone() for name, parameter in encoder.named_parameters()}
    torch.manual_seed(0)
    encoder = encoders.build_image_encoder("repvit_m0_6", image_size=SIZE)
    with pretended_gpu() as counts:
        on_gpu(encoder)(image.pin_memory().to(CUDA, non_blocking=True)).square().mean().backward()
        assert counts.waited == 0, counts
        for name, parameter in encoder.named_parameters():
            assert torch.equal(parameter.grad.cpu(), expected[name]), name
