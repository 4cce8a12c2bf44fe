"""PyTorch: the plain model, with the encoder fused, with another memory format, or compiled."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.fusion import fuse
from encoders.sam import Sam
from encoders.weights.checkpoint import load
from eval_zeroshot.latency.subjects.opening import NO_CUDA, Call, Opened
from eval_zeroshot.latency.subjects.parts import contract_image, everything, some_embedding, some_points
from eval_zeroshot.latency.subjects.subject import Spec
from eval_zeroshot.latency.subjects.throughput import device_milliseconds


def open_torch(spec: Spec) -> Opened:
    """Open one of our models in PyTorch.

    Raises:
        InputError: a CUDA device is requested but there is none.
    """
    torch.set_num_threads(spec.threads)
    device = torch.device(spec.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(NO_CUDA)
    sam = prepare(load(Path(spec.path)), runtime=spec.runtime, cache=spec.cache).to(device)
    batched = None
    detail: Callable[[], dict[str, int | str]] = dict
    if spec.part == "encoder":
        batched = _encoder(sam, spec, device)
        call = batched(1)
    elif spec.part == "decoder":
        call, detail = _decoder(sam, spec, device), lambda: dict(spec.asked)
    else:
        call, detail = everything(spec, sam)
    on_device = device.type == "cuda"
    return Opened(
        call=_by_events(call) if on_device else call,
        name=f"PyTorch {torch.__version__}",
        precision=_precision(sam),
        threads=torch.get_num_threads(),
        batched=batched,
        synchronize=torch.cuda.synchronize if on_device else lambda: None,
        device=torch.cuda.get_device_name(device) if on_device else None,
        device_peak_mb=lambda: torch.cuda.max_memory_allocated(device) / 2**20 if on_device else None,
        detail=detail,
        keep=[sam],
    )


def prepare(sam: Sam, *, runtime: str, cache: str | None = None) -> Sam:
    """The model prepared for a runtime; all runtimes but "torch" fuse the encoder first."""
    if runtime == "torch":
        return sam
    fused = fuse(sam)
    if runtime == "torch_fused_channels_last":
        fused.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if runtime == "torch_compiled":
        if cache is not None:
            import os

            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        fused.image_encoder.compile()
    return fused


def _encoder(sam: Sam, spec: Spec, device: torch.device) -> Callable[[int], Call]:
    last = spec.runtime == "torch_fused_channels_last"

    def batched(size: int) -> Call:
        image = torch.from_numpy(contract_image(spec.image_size, batch=size)).to(device)
        image = image.to(memory_format=torch.channels_last) if last else image

        def call() -> None:
            with torch.inference_mode():
                sam.image_encoder(image)

        return call

    return batched


def _decoder(sam: Sam, spec: Spec, device: torch.device) -> Call:
    """All four mask tokens of P prompts, by `Sam.decode_all`, or in torch_compiled by the graph that is also exported."""
    embedding = torch.from_numpy(some_embedding(spec.image_size)).to(device)
    coords, labels = (torch.from_numpy(array).to(device) for array in some_points(spec.prompts, image_size=spec.image_size))
    decode: Callable[[], Any]
    if spec.runtime == "torch_compiled":
        module = PromptDecoder(sam).to(device)
        module.compile()

        def decode() -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = module(embedding, coords, labels)
            return found
    else:
        points, kinds = coords[:, :1], labels[:, :1]  # the prompt encoder adds the padding point itself
        index = torch.zeros(spec.prompts, dtype=torch.long, device=device)

        def decode() -> tuple[Tensor, Tensor]:
            return sam.decode_all(embedding, image_index=index, points=points, labels=kinds)

    def call() -> None:
        with torch.inference_mode():
            decode()

    return call


def _by_events(call: Call) -> Call:
    """The call, timed by events on the GPU."""
    return lambda: device_milliseconds(call, events=partial(torch.cuda.Event, enable_timing=True))


def _precision(sam: Sam) -> str:
    """Data type of the weights; autocast is not used."""
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    found = {parameter.dtype for parameter in sam.image_encoder.parameters()}
    return "+".join(sorted(names.get(dtype, str(dtype)) for dtype in found))
