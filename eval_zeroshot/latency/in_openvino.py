"""OpenVINO on the CPU, with its precision set and read back: by itself it takes bfloat16 on processors that have it."""

from pathlib import Path
from typing import Any

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.errors import MissingExtra
from encoders.export.formats.onnx import DECODER, ENCODER
from eval_zeroshot.latency.opening import Opened, of_runtime
from eval_zeroshot.latency.parts import contract_image
from eval_zeroshot.latency.subjects import Spec

PRECISIONS = {"openvino": "f32", "openvino_bf16": "bf16"}
NAMES = {"f32": "fp32", "float32": "fp32", "bf16": "bf16", "bfloat16": "bf16", "f16": "fp16", "float16": "fp16"}


def open_openvino(spec: Spec) -> Opened:
    """An encoder, or encoder and decoder, from ONNX files.

    Raises:
        MissingExtra: openvino is not installed.
    """
    openvino = _openvino()
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": spec.threads, "INFERENCE_PRECISION_HINT": PRECISIONS[spec.runtime]})
    name = f"OpenVINO {openvino.__version__.split('-')[0]}"
    encoder = core.compile_model(str(Path(spec.path) / ENCODER), "CPU")
    precision, threads = effective(encoder)
    if spec.part != "encoder":
        decoder = core.compile_model(str(Path(spec.path) / DECODER), "CPU")
        runtime = _OpenVino(encoder, decoder, name=name, precision=precision, image_size=spec.image_size)
        return of_runtime(spec, runtime, threads=threads)
    request, image = encoder.create_infer_request(), contract_image(spec.image_size)

    def call() -> None:
        request.infer([image])

    return Opened(call=call, name=name, precision=precision, threads=threads, keep=[encoder, request])


def effective(compiled: Any) -> tuple[str, int]:
    """What a compiled model says that it computes in, and with how many threads."""
    hint = compiled.get_property("INFERENCE_PRECISION_HINT")
    name = hint.get_type_name() if hasattr(hint, "get_type_name") else str(hint)
    return NAMES.get(name, name), int(compiled.get_property("INFERENCE_NUM_THREADS"))


class _OpenVino:
    """See `encoders.export.formats.base.Runtime`."""

    how = "executed"

    def __init__(self, encoder: Any, decoder: Any, *, name: str, precision: str, image_size: int) -> None:
        self.name = name
        self.precision = precision
        self._encoder = encoder.create_infer_request()
        self._decoder = decoder.create_infer_request()
        side = image_size // MASK_STRIDE
        self._no_mask = {
            "mask_input": np.zeros((1, 1, side, side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.asarray([16, 16], np.float32),
        }

    def encode(self, image: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._encoder.infer([image])[0]
        return found

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        given = {"image_embeddings": embedding, "point_coords": coords, "point_labels": labels.astype(np.float32)}
        found = self._decoder.infer(given | self._no_mask)
        return found["low_res_masks"], found["iou_predictions"]


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", extra="openvino") from error
    return openvino
