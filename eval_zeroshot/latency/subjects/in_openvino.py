"""OpenVINO on the CPU. Precision is set and read back, since by default OpenVINO uses bfloat16 on processors that have it."""

from pathlib import Path

from encoders.errors import MissingExtra
from eval_zeroshot.latency.subjects.opening import Opened, of_runtime, threads_of
from eval_zeroshot.latency.subjects.parts import contract_image
from eval_zeroshot.latency.subjects.subject import Spec

HINTS = {"openvino": "f32", "openvino_bf16": "bf16"}


def open_openvino(spec: Spec) -> Opened:
    """Open the encoder, or encoder and decoder, of a folder in the OpenVINO format. The decoder stays in fp32.

    Raises:
        MissingExtra: openvino is not installed.
        InputError: a file is missing or damaged.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", extra="openvino") from error
    from encoders.export.formats.openvino import DECODER, ENCODER, OpenVinoRuntime, compile_model, effective_precision

    folder, hint = Path(spec.path), HINTS[spec.runtime]
    if spec.part != "encoder":
        runtime = OpenVinoRuntime(
            folder / ENCODER, folder / DECODER, image_size=spec.image_size, hint=hint, threads=spec.threads
        )
        return of_runtime(spec, runtime)
    encoder = compile_model(folder / ENCODER, hint=hint, threads=spec.threads)
    request, image = encoder.create_infer_request(), contract_image(spec.image_size)

    def call() -> None:
        request.infer([image])

    return Opened(
        call=call,
        name=f"OpenVINO {openvino.__version__.split('-')[0]}",
        precision=effective_precision(encoder),
        threads=threads_of(encoder),
        keep=[encoder, request],
    )
