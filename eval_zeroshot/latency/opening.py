"""In the process that is timed: a runtime opened, and its parts as functions without arguments."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from eval_zeroshot.latency.rows import Placement
from eval_zeroshot.latency.subjects import TORCH_RUNTIMES, Spec

Call = Callable[[], float | None]  # gives milliseconds where the runtime has a better clock than ours


@dataclass(kw_only=True)
class Opened:
    """A subject, ready to be called.

    Attributes:
        call: one image through the part.
        name: of the runtime, with its version; precision: what it really computes in.
        threads: what the runtime says that it uses; None where it does not say.
        batched: calls the part with B images at once, where the runtime can.
        synchronize: waits until a device has finished; nothing on a CPU. device: its name, if there
            is such a device.
        detail, placement: see `LatencyRow`; asked after the first call.
    """

    call: Call
    name: str
    precision: str
    threads: int | None
    batched: Callable[[int], Call] | None = None
    synchronize: Callable[[], None] = lambda: None
    device: str | None = None
    detail: Callable[[], dict[str, int | str]] = dict
    placement: Callable[[], dict[str, Placement]] = dict
    keep: list[Any] = field(default_factory=list)


def open_subject(spec: Spec) -> Opened:
    """Open what a spec names, in this process.

    Raises:
        InputError: a file is missing or damaged, or the runtime would not execute the model itself here.
        MissingExtra: the runtime is not installed.
    """
    if spec.facts.exported is not None and spec.facts.exported not in ("coreml",):
        return open_exported(spec)
    if spec.runtime in TORCH_RUNTIMES:
        from eval_zeroshot.latency.in_torch import open_torch

        return open_torch(spec)
    if spec.runtime == "onnxruntime":
        return open_onnxruntime(spec)
    if spec.runtime.startswith("openvino"):
        from eval_zeroshot.latency.in_openvino import open_openvino

        return open_openvino(spec)
    if spec.runtime == "coreml":
        from eval_zeroshot.latency.in_coreml import open_coreml

        return open_coreml(spec)
    return open_format(spec)


def open_onnxruntime(spec: Spec) -> Opened:
    """ONNX Runtime, the encoder's session alone where only that is asked for."""
    from encoders.export.formats.onnx import ENCODER, OnnxFormat, open_session

    folder = Path(spec.path)
    if spec.part != "encoder":
        runtime = OnnxFormat().open(folder, image_size=spec.image_size, precision=spec.precision, threads=spec.threads)
        return of_runtime(spec, runtime)
    import onnxruntime

    from eval_zeroshot.latency.parts import contract_image

    session = open_session(folder / ENCODER, threads=spec.threads)
    given = {session.get_inputs()[0].name: contract_image(spec.image_size)}
    return Opened(
        call=lambda: _ignore(session.run(None, given)),
        name=f"ONNX Runtime {onnxruntime.__version__}",
        precision=spec.precision,
        threads=threads_of(session),
        keep=[session],
    )


def open_format(spec: Spec) -> Opened:
    """A folder that a format of ours wrote a moment ago."""
    from encoders.export.formats import find_format
    from eval_zeroshot.latency.subjects import FORMAT_RUNTIMES

    made = find_format(FORMAT_RUNTIMES[spec.runtime])
    runtime = made.open(Path(spec.path), image_size=spec.image_size, precision=spec.precision, threads=spec.threads)
    return of_runtime(spec, runtime)


def open_exported(spec: Spec) -> Opened:
    """A folder that `repvit-sam export` made."""
    from encoders.export.opened import open_export

    model = open_export(spec.path, threads=spec.threads)
    return of_runtime(spec, model.runtime, frame=model.frame)


def of_runtime(spec: Spec, runtime: Any, *, frame: tuple[int, int] | None = None) -> Opened:
    """The part of an exported model; see `encoders.export.formats.base.Runtime`, and `ExportedSam` for its frame.

    Raises:
        InputError: it is interpreted, so that its time says nothing of the runtime's.
    """
    from encoders.export.opened import ExportedSam
    from eval_zeroshot.latency.parts import everything, of_encoder_decoder

    if runtime.how != "executed":
        raise NotRunHere(f"{runtime.name} is {runtime.how} here, which takes another time than the runtime itself")
    part = everything if spec.part == "everything" else of_encoder_decoder
    call, detail = part(spec, ExportedSam(runtime, arch="", image_size=spec.image_size, frame=frame))
    threads = threads_of(getattr(runtime, "_encoder", None))
    return Opened(
        call=call, name=runtime.name, precision=runtime.precision, threads=threads, detail=detail, keep=[runtime]
    )


def threads_of(session: Any) -> int | None:
    """With how many threads a session of ONNX Runtime or a compiled model of OpenVINO says that it computes; None of others."""
    if hasattr(session, "get_session_options"):
        return int(session.get_session_options().intra_op_num_threads)
    if hasattr(session, "get_property"):
        return int(session.get_property("INFERENCE_NUM_THREADS"))
    return None


class NotRunHere(InputError):
    """The runtime exists on other systems only."""


def limit_threads(threads: int) -> None:
    """What runtimes read from the environment when they are imported; before that."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
        os.environ[name] = str(threads)


def _ignore(_result: object) -> None:
    return None
