"""What a training step must be on a pretended GPU."""

import pytest

from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu


def check_step(here, there, make_batch, *, rel):
    """Run a step of two equal modules, one on the CPU: the other's waits for nothing, and its losses are the same."""
    expected = here(make_batch())
    sum(expected.values()).backward()
    with pretended_gpu() as counts:
        batch = make_batch().pin_memory()
        on_gpu(there)
        there(batch)  # the first step also copies constants to the device
        waited = counts.waited
        found = there(batch)
        sum(found.values()).backward()
        assert counts.waited == waited, counts
        assert {name: loss.device for name, loss in found.items()} == dict.fromkeys(expected, CUDA)
        values = {name: float(loss.detach()) for name, loss in found.items()}
    assert values == pytest.approx({name: float(loss.detach()) for name, loss in expected.items()}, rel=rel)
    gradients = [parameter.grad for parameter in there.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.device == CUDA for gradient in gradients)
