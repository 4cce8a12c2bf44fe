"""Runs in a subject's process: opens a runtime and makes one of its parts a function without arguments."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from eval_zeroshot.latency.rows.row import Placement
from eval_zeroshot.latency.subjects.subject import TORCH_RUNTIMES, Spec

Call = Callable[[], float | None]  # returns milliseconds if the runtime measures them itself, else None

NO_CUDA = "--device cuda: PyTorch finds no CUDA device here; leave it out to time the processor"
PHOTO_NOTE = "includes conversion of the photo by this project's harness"


@dataclass(kw_only=True)
class Opened:
    """A subject, ready to be called.

    Attributes:
        call: passes one image through the part.
        name: of the runtime, with its version; precision: what it really computes in.
        threads: number that the runtime reports; None if it reports none.
        batched: makes a call with B images at once; None if the runtime takes one image at a time.
        synchronize: waits until a GPU has finished; does nothing on a CPU.
        device: name of the GPU; None is the CPU. device_peak_mb: returns the maximum of the memory allocated on it.
        detail, placement: see `LatencyRow`; evaluated after the first call.
        note: remark on how the times come about.
        keep: objects that must live as long as the call.
    """

    call: Call
    name: str
    precision: str
    threads: int | None
    batched: Callable[[int], Call] | None = None
    synchronize: Callable[[], None] = lambda: None
    device: str | None = None
    device_peak_mb: Callable[[], float | None] = lambda: None
    detail: Callable[[], dict[str, int | str]] = dict
    placement: Callable[[], dict[str, Placement]] = dict
    note: str | None = None
    keep: list[Any] = field(default_factory=list)


def open_subject(spec: Spec) -> Opened:
    """Open the subject of a spec in this process.

    Raises:
        InputError: a file is missing or damaged, or the runtime cannot execute the model on this system.
        MissingExtra: the runtime is not installed.
    """
    if spec.facts.exported is not None and spec.facts.exported != "coreml":
        return open_exported(spec)
    if spec.runtime in TORCH_RUNTIMES:
        from eval_zeroshot.latency.subjects.in_torch import open_torch

        return open_torch(spec)
    if spec.runtime == "onnxruntime":
        return open_onnxruntime(spec)
    if spec.runtime.startswith("openvino"):
        from eval_zeroshot.latency.subjects.in_openvino import open_openvino

        return open_openvino(spec)
    if spec.runtime == "coreml":
        from eval_zeroshot.latency.subjects.in_coreml import open_coreml

        return open_coreml(spec)
    return open_format(spec)


def open_onnxruntime(spec: Spec) -> Opened:
    """ONNX Runtime; only the encoder's session if only the encoder is timed."""
    from encoders.export.formats.onnx import ENCODER, OnnxFormat, open_session

    folder = Path(spec.path)
    if spec.part != "encoder":
        runtime = OnnxFormat().open(folder, image_size=spec.image_size, precision=spec.precision, threads=spec.threads)
        return of_runtime(spec, runtime)
    import onnxruntime

    from eval_zeroshot.latency.subjects.parts import contract_image

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
    """A folder that the lab has just written in one of this project's formats."""
    from encoders.export.formats import find_format
    from eval_zeroshot.latency.subjects.subject import FORMAT_RUNTIMES

    made = find_format(FORMAT_RUNTIMES[spec.runtime])
    runtime = made.open(Path(spec.path), image_size=spec.image_size, precision=spec.precision, threads=spec.threads)
    return of_runtime(spec, runtime)


def open_exported(spec: Spec) -> Opened:
    """A folder that `repvit-sam export` made."""
    from encoders.export.opened import open_export

    model = open_export(spec.path, threads=spec.threads)
    return of_runtime(spec, model.runtime, frame=model.frame)


def of_runtime(spec: Spec, runtime: Any, *, frame: tuple[int, int] | None = None) -> Opened:
    """A part of an exported model; see `encoders.export.formats.base.Runtime`, and `ExportedSam` for the frame.

    Raises:
        NotRunHere: the model is interpreted here, which says nothing about the runtime's own speed.
    """
    from encoders.export.opened import ExportedSam
    from eval_zeroshot.latency.subjects.parts import everything, of_encoder_decoder

    if runtime.how != "executed":
        raise NotRunHere(f"{runtime.name} is {runtime.how} here, which says nothing about the runtime's own speed")
    part = everything if spec.part == "everything" else of_encoder_decoder
    call, detail = part(spec, ExportedSam(runtime, arch="", image_size=spec.image_size, frame=frame))
    threads = threads_of(getattr(runtime, "_encoder", None))
    return Opened(
        call=call,
        name=runtime.name,
        precision=runtime.precision,
        threads=threads,
        detail=detail,
        note=PHOTO_NOTE if spec.part != "decoder" and spec.facts.tool and _takes_photos(runtime) else None,
        keep=[runtime],
    )


def _takes_photos(runtime: Any) -> bool:
    """Whether a tool's encoder takes photos, so that its runtime converts the normalised image back to one in each call."""
    from encoders.export.targets.python import SegmentRuntime
    from encoders.export.targets.tool_runtime import PhotoToolRuntime

    return isinstance(runtime, (PhotoToolRuntime, SegmentRuntime))


def threads_of(session: Any) -> int | None:
    """Number of threads that a session of ONNX Runtime or a compiled model of OpenVINO reports; None for anything else."""
    if hasattr(session, "get_session_options"):
        return int(session.get_session_options().intra_op_num_threads)
    if hasattr(session, "get_property"):
        return int(session.get_property("INFERENCE_NUM_THREADS"))
    return None


class NotRunHere(InputError):
    """The runtime cannot run on this system, but on others."""


def limit_threads(threads: int) -> None:
    """Set the variables that runtimes read from the environment; must be called before they are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
        os.environ[name] = str(threads)


def _ignore(_result: object) -> None:
    return None
