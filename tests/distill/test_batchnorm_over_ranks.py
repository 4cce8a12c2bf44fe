"""BatchNorm over ranks equals torch's own over the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from distill.sync_batchnorm import synchronize_batchnorm

SCRIPT = Path(__file__).with_name("batchnorm_rank.py")


def make_norm(*, activation):
    return BatchNormAct2d(3, act_layer=nn.SiLU) if activation else nn.BatchNorm2d(3)


@pytest.fixture(scope="module")
def both_ranks(tmp_path_factory):
    """Without and with an activation: the whole batch, and what each of two ranks made of its half of it."""
    folder, batches = tmp_path_factory.mktemp("ranks"), [make_batch(activation=activation) for activation in (False, True)]
    torch.save(batches, folder / "batches.pt")
    files = [str(folder / f"out{rank}.pt") for rank in (0, 1)]
    words = [sys.executable, str(SCRIPT), str(folder / "meet"), str(folder / "batches.pt"), *files]
    assert subprocess.run(words, timeout=120, check=False).returncode == 0
    seen = [torch.load(file, weights_only=True) for file in files]
    return {batch["activation"]: (batch, ours) for batch, *ours in zip(batches, *seen, strict=True)}


def make_batch(*, activation):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 7) * torch.tensor([1.0, 0.1, 4.0]).view(3, 1, 1)
    x[2:] += 1.5  # the ranks' own statistics differ
    x[:, 1] += 100  # a mean far above the spread
    upstream = torch.randn(4, 3, 5, 7)
    norm = make_norm(activation=activation)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return {"x": x, "upstream": upstream, "state": norm.state_dict(), "activation": activation}


@pytest.mark.parametrize("activation", [False, True])
def test_two_ranks_with_half_a_batch_each_equal_one_with_all_of_it(both_ranks, activation):
    batch, seen = both_ranks[activation]
    norm = make_norm(activation=activation)
    norm.load_state_dict(batch["state"])
    norm.double()
    whole = batch["x"].double().requires_grad_()
    y = norm(whole)
    (y * batch["upstream"]).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-4, "check_dtype": False}
    torch.testing.assert_close(torch.cat([s["y"] for s in seen]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([s["x_grad"] for s in seen]), whole.grad, **close)
    gradients = torch.stack([norm.weight.grad, norm.bias.grad])
    torch.testing.assert_close(seen[0]["weights"], gradients, rtol=1e-4, atol=2e-3, check_dtype=False)  # sums of 140
    torch.testing.assert_close(dict(seen[0]["state"]), dict(norm.state_dict()), **close)


def test_statistics_of_bfloat16_input_are_those_of_its_values_in_float32(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    twins = lambda ranks, own: ranks.copy_(own.repeat(2))  # noqa: E731 (another rank with the same batch)
    monkeypatch.setattr(torch.distributed, "all_gather_into_tensor", twins)
    torch.manual_seed(0)
    x = (torch.randn(3, 2, 31, 17) * 2 + 9).bfloat16()
    norm = synchronize_batchnorm(nn.BatchNorm2d(2), device_type="cpu")
    y = norm(x)
    assert y.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(norm.running_mean, 0.1 * x.float().mean(dim=(0, 2, 3)))
    expected = nn.functional.batch_norm(x.float(), None, None, training=True)
    torch.testing.assert_close(y.float(), expected, rtol=0.01, atol=0.01)


def test_on_a_gpu_activations_behind_batchnorm_are_kept():
    norm = synchronize_batchnorm(BatchNormAct2d(3, act_layer=nn.SiLU), device_type="cuda")
    assert isinstance(norm, nn.SyncBatchNorm) and isinstance(norm.act, nn.SiLU)


def test_a_kind_of_batchnorm_that_would_stay_local_is_refused():
    class WithActivation(nn.BatchNorm2d):
        pass

    with pytest.raises(TypeError, match="WithActivation"):
        synchronize_batchnorm(nn.Sequential(WithActivation(3)), device_type="cpu")
