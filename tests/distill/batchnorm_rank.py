"""Two processes with half of each batch through BatchNorm over ranks: MEETING_FILE BATCHES OUT0 OUT1.

They are forked from one that has imported everything: importing takes longer than the rest.
"""

import sys
from pathlib import Path

import torch
from timm.layers import BatchNormAct2d
from torch import multiprocessing, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from distill.sync_batchnorm import synchronize_batchnorm  # noqa: E402


def run(rank: int, meeting: str, batches: str, *outs: str) -> None:
    """Write what this rank made of its half of each batch."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = []
    for given in torch.load(batches, weights_only=True):
        norm = BatchNormAct2d(3, act_layer=nn.SiLU) if given["activation"] else nn.BatchNorm2d(3)
        norm.load_state_dict(given["state"])
        norm = synchronize_batchnorm(norm, device_type="cpu")
        x = given["x"].chunk(2)[rank].clone().requires_grad_()
        y = norm(x)
        (y * given["upstream"].chunk(2)[rank]).sum().backward()
        weights = torch.stack([norm.weight.grad, norm.bias.grad])
        torch.distributed.all_reduce(weights)
        found.append({"y": y.detach(), "x_grad": x.grad, "weights": weights, "state": norm.state_dict()})
    torch.save(found, outs[rank])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()  # else gloo's threads may abort the process while it exits


if __name__ == "__main__":
    multiprocessing.start_processes(run, args=tuple(sys.argv[1:]), nprocs=2, start_method="fork")
