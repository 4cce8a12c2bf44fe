"""SAM's image encoders against segment-anything's, with the same random weights: time, difference and peak memory.

- speedup: seconds of segment-anything's / ours, the median pass of each, in turn; cpu_speedup is the same in processor seconds,
  which other programs on the machine disturb less.
- max_abs_difference: between the two embeddings of the same batch of noise, beside embedding_rms, their root mean square.
- peak_memory_ratio: how much one pass raises the peak resident memory, ours / segment-anything's, each in a process of its own
  (at small image sizes by nothing, as building the encoder has raised it already).

Everything is float32 on the CPU. Run: python -m benchmarks.teacher [--json] [--arch sam_vit_b] [--image-size 1024] [--batch 1]
[--threads N] [--rounds 5]. ViT-B at 1024 px takes some 20 s of one core a round.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from benchmarks.output import print_facts
from benchmarks.random_weights import randomize
from benchmarks.timing import CpuTimed, alternate
from encoders.contract import EMBED_DIM, STRIDE
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder


def build_original(arch: str, *, image_size: int) -> ImageEncoderViT:
    """segment-anything's encoder, as its `build_sam.py` sets it up."""
    size = SAM_VIT_SIZES[arch]
    return ImageEncoderViT(
        img_size=image_size,
        patch_size=STRIDE,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        out_chans=EMBED_DIM,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=size.global_blocks,
    )


BUILD: dict[str, Callable[..., nn.Module]] = {"segment_anything": build_original, "ours": SamVitEncoder}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed."""
    original = randomize(build_original(options.arch, image_size=options.image_size))
    ours = SamVitEncoder(options.arch, image_size=options.image_size)
    ours.load_state_dict(original.state_dict())
    image = noise(options)
    passes = {"segment_anything": Pass(original, image), "ours": Pass(ours, image)}
    timed = {name: CpuTimed(one) for name, one in passes.items()}
    seconds = alternate(timed, rounds=options.rounds)
    cpu_seconds = {name: one.cpu_seconds for name, one in timed.items()}
    expected, embedding = passes["segment_anything"].embedding, passes["ours"].embedding
    growth = {name: memory_growth(name, options) for name in BUILD}
    return {
        "speedup": seconds["segment_anything"] / seconds["ours"],
        "cpu_speedup": cpu_seconds["segment_anything"] / cpu_seconds["ours"],
        "max_abs_difference": (embedding - expected).abs().max().item(),
        "embedding_rms": expected.square().mean().sqrt().item(),
        "peak_memory_ratio": growth["ours"] / max(1, growth["segment_anything"]),
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_cpu_seconds": value for name, value in cpu_seconds.items()},
        **{f"{name}_peak_bytes": value for name, value in growth.items()},
        **{name: getattr(options, name) for name in ("arch", "image_size", "batch", "threads", "rounds")},
    }


class Pass:
    """One pass of an encoder over a batch, each time it is called; `embedding` is the latest."""

    def __init__(self, encoder: nn.Module, image: Tensor) -> None:
        self.encoder, self.image = encoder.eval(), image

    def __call__(self) -> None:
        with torch.inference_mode():
            self.embedding: Tensor = self.encoder(self.image)


def noise(options: argparse.Namespace) -> Tensor:
    """(B, 3, S, S) float32, as normalised as a photo."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(options.batch, 3, options.image_size, options.image_size, generator=generator)


def memory_growth(name: str, options: argparse.Namespace) -> int:
    """Bytes by which one pass raises the peak resident memory of a new process."""
    settings = ("arch", "image_size", "batch", "threads")
    arguments = [text for key in settings for text in (f"--{key.replace('_', '-')}", str(getattr(options, key)))]
    command = [sys.executable, "-m", "benchmarks.teacher", "--memory-of", name, *arguments]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure_memory(options: argparse.Namespace) -> int:
    """The same in this process, which must be new."""
    encoder = randomize(BUILD[options.memory_of](options.arch, image_size=options.image_size))
    one = Pass(encoder, noise(options))
    before = peak_bytes()
    one()
    return peak_bytes() - before


def peak_bytes() -> int:
    """Peak resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux getrusage would also count what the process that started this one had
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Print a line a figure, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--arch", choices=SAM_VIT_SIZES, default="sam_vit_b")
    parser.add_argument("--image-size", type=int, default=1024, help="pixels, a multiple of 64")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5, help="each encoder's passes; the median counts")
    parser.add_argument("--memory-of", choices=BUILD, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(measure_memory(options))
        return
    print_facts(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
