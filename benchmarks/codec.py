"""Encode, parse and dequantise one 3:2 photo's embedding at 1024 px with every codec, beside fp16.

Encoding happens beside the teacher, parsing in a loader's worker, dequantising on the device of the training, here with a
batch of 8. The embedding is smooth noise: times do not depend on what it shows, so its errors are no figure of merit
(`repvit-sam cache stats` measures those on real photos).

Run: python -m benchmarks.codec [--json]
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.timing import alternate
from encoders.contract import EMBED_DIM, IMAGE_SIZE, STRIDE
from shards.codec.records import CODECS, encode_embedding, get_codec, pad_codes, parse_record

SHAPE = (683, 1024)  # pixels of a 3:2 photo in the input frame
BATCH = 8


def smooth_embedding(*, seed: int = 0) -> np.ndarray:
    """(256, 64, 64) float32 whose neighbours are alike."""
    side = IMAGE_SIZE // STRIDE
    noise = torch.randn(1, EMBED_DIM, side, side, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)[0].numpy() * 5


def run(*, rounds: int, device: str) -> dict[str, Any]:
    """Milliseconds a photo of each step of each codec, photos a second as a multiple of fp16's, and bytes."""
    raw = smooth_embedding()
    records = {name: encode_embedding(raw, shape=SHAPE, codec=name) for name in CODECS}
    batches = {name: _batch(record, device=device) for name, record in records.items()}
    steps: dict[str, dict[str, Callable[[], object]]] = {
        "encode": {name: lambda name=name: encode_embedding(raw, shape=SHAPE, codec=name) for name in CODECS},
        "parse": {
            name: lambda record=record: pad_codes(parse_record(record).codes, side=IMAGE_SIZE // STRIDE)
            for name, record in records.items()
        },
        "dequantize": {name: lambda name=name: _dequantize(name, *batches[name], device=device) for name in CODECS},
    }
    out: dict[str, Any] = {"device": device, "batch": BATCH, "threads": torch.get_num_threads()}
    out["bytes"] = {name: len(record) for name, record in records.items()}
    for step, ways in steps.items():
        per_call = BATCH if step == "dequantize" else 1
        seconds = {name: value / per_call for name, value in alternate(ways, rounds=rounds).items()}
        out[f"{step}_ms"] = {name: round(1000 * value, 3) for name, value in seconds.items()}
        out[f"{step}_speed"] = {name: round(seconds["fp16"] / value, 3) for name, value in seconds.items()}
    return out


def _batch(record: bytes, *, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    coded = parse_record(record)
    codes = torch.from_numpy(pad_codes(coded.codes, side=IMAGE_SIZE // STRIDE))
    return (
        codes.expand(BATCH, *codes.shape).contiguous().to(device),
        torch.from_numpy(coded.scales).expand(BATCH, *coded.scales.shape).contiguous().to(device),
    )


def _dequantize(name: str, codes: torch.Tensor, scales: torch.Tensor, *, device: str) -> None:
    get_codec(name).dequantize(codes, scales)
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=9, help="each codec's turns; the median counts")
    arguments = parser.parse_args()
    result = run(rounds=arguments.rounds, device="cuda" if torch.cuda.is_available() else "cpu")
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"3:2 photo at 1024 px, {result['device']}, {result['threads']} threads; ms a photo (speed relative to fp16)")
    print(f"{'codec':8}{'bytes':>10}" + "".join(f"{step:>20}" for step in ("encode", "parse", "dequantize")))
    for name, size in result["bytes"].items():
        cells = [
            f"{result[f'{step}_ms'][name]:.2f} ({result[f'{step}_speed'][name]:.2f})"
            for step in ("encode", "parse", "dequantize")
        ]
        print(f"{name:8}{size:>10}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
