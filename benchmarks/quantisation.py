"""What an image encoder in ONNX loses and gains in fewer bits: stored weights, and ONNX Runtime's own quantisation.

"stored" settings keep large weights in fp16 or 8 bits and compute in fp32, as `--precision` does. "dynamic" settings are ONNX
Runtime's int8 quantisation that scales activations anew in each call, with and without convolutions; without them it leaves a
purely convolutional encoder as it is. "static" settings are its QDQ quantisation of weights and activations, calibrated on
photos. Masks come from PyTorch's decoder, so that the encoder alone is measured. Time is processor time; fp32 and the setting
are timed in turn.

Run: python -m benchmarks.quantisation --model sam_demo --image-size 256 [--calibration 64] [--photos 20] [--json]
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import encoders
from benchmarks.output import print_facts
from benchmarks.timing import CpuTimed, alternate
from encoders.export.certification.comparison import compare
from encoders.export.certification.questions import Question
from encoders.export.certification.reference import make_reference
from encoders.export.certifying import contract_image
from encoders.export.formats.base import How
from encoders.export.formats.onnx import open_session, store_weights, write_encoder
from encoders.export.modules.exportable import exportable
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.export.opened import ExportedSam
from encoders.samples.sample import Sample
from eval_zeroshot import open_dataset

Way = Callable[[Path], None]  # rewrites an fp32 file in place
BOXES = [Question(kind="box", points=2)]  # the prompts: a box around each object


class MixedRuntime:
    """An encoder in ONNX Runtime with PyTorch's decoder."""

    name, precision = "ONNX Runtime and PyTorch", "as the file"
    how: How = "executed"

    def __init__(self, path: Path, *, decoder: PromptDecoder) -> None:
        self._session, self._decoder = open_session(path, threads=1), decoder

    def encode(self, image: np.ndarray) -> np.ndarray:
        """As `Runtime.encode`."""
        (embedding,) = self._session.run(None, {"image": image})
        return np.asarray(embedding)

    @torch.inference_mode()
    def decode(self, embedding: Any, coords: Any, labels: Any, masks: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """As `Runtime.decode`, without masks."""
        logits, scores = self._decoder(*(torch.from_numpy(value) for value in (embedding, coords, labels)))
        return logits.numpy(), scores.numpy()


def settings(calibration: Sequence[np.ndarray]) -> Iterator[tuple[str, Way]]:
    """The settings to measure, by name."""
    for precision in ("fp16", "int8"):
        yield f"stored {precision}", partial(store_weights, precision=precision)
    yield "dynamic, all", partial(quantise_dynamic, convolutions=True)
    yield "dynamic, no convolutions", partial(quantise_dynamic, convolutions=False)
    yield "static, all", partial(quantise_static, calibration=calibration, operations=None)
    yield "static, convolutions", partial(quantise_static, calibration=calibration, operations=["Conv"])
    for method, percentile in (("MinMax", None), ("Percentile", 99.99), ("Percentile", 99.9)):
        name = f"static, inner 1x1 convolutions, {method}{f' {percentile}' if percentile else ''}"
        yield name, partial(
            quantise_static, calibration=calibration, operations=["Conv"], method=method, percentile=percentile, inner=True
        )


def quantise_dynamic(path: Path, *, convolutions: bool) -> None:
    """ONNX Runtime's dynamic quantisation of a file, in place: uint8 weights and activations.

    Weights are scaled by tensor: ONNX Runtime has no convolution of integers with weights scaled by channel.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = path.with_suffix(".plain.onnx")
    path.rename(plain)
    operations = ["MatMul", "Gemm", *(["Conv"] if convolutions else [])]
    quantize_dynamic(str(plain), str(path), op_types_to_quantize=operations, weight_type=QuantType.QUInt8)
    plain.unlink()


def quantise_static(
    path: Path,
    *,
    calibration: Sequence[np.ndarray],
    operations: list[str] | None,
    method: str = "MinMax",
    percentile: float | None = None,
    inner: bool = False,
) -> None:
    """ONNX Runtime's static quantisation of a file, in place: int8 weights by channel, uint8 activations.

    Args:
        operations: the types to quantise; None for all that can be.
        inner: quantise 1x1 convolutions only, without the first two and the last two convolutions and those of squeeze-excite.
    """
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._left, None)
            return None if image is None else {"image": image}

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(str(path), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Photos(),
        op_types_to_quantize=operations,
        nodes_to_quantize=inner_convolutions(prepared) if inner else [],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
        extra_options={} if percentile is None else {"CalibPercentile": percentile},
    )
    prepared.unlink()


def inner_convolutions(path: Path) -> list[str]:
    """Names of a file's 1x1 convolutions of more than one pixel, without its first two and last two convolutions."""
    import onnx

    graph = onnx.load(str(path)).graph
    weights = {one.name: list(one.dims) for one in graph.initializer}
    shapes = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in graph.value_info}
    convolutions = [node for node in graph.node if node.op_type == "Conv"][2:-2]
    return [
        node.name
        for node in convolutions
        if weights[node.input[1]][1] > 1
        and weights[node.input[1]][2:] == [1, 1]
        and shapes.get(node.input[0], [0, 0, 2, 2])[2:] != [1, 1]
    ]


def run(
    model: str, *, image_size: int | None, photos: Sequence[Sample], calibration: Sequence[Sample], rounds: int
) -> dict[str, Any]:
    """Mask IoU, size and time of each setting."""
    sam = encoders.load(model, image_size=image_size)
    fused, size = encoders.fuse(sam), sam.image_size
    reference, embeddings = make_reference(encoders.Predictor(sam), photos, asked=BOXES)
    images = {sample.key: sample.image for sample in photos}
    calibrating = [contract_image(sample.image, image_size=size).numpy() for sample in calibration]
    first = contract_image(photos[0].image, image_size=size).numpy()
    facts: dict[str, Any] = {"model": model, "image_size": size, "photos": len(photos), "calibration": len(calibrating)}
    with tempfile.TemporaryDirectory() as folder:
        plain, path = Path(folder) / "plain.onnx", Path(folder) / "encoder.onnx"
        write_encoder(exportable(fused.image_encoder), plain, image=torch.zeros(1, 3, size, size))
        facts["fp32"] = {"megabytes": plain.stat().st_size / 1e6}
        decoder = PromptDecoder(fused)
        for name, way in settings(calibrating):
            shutil.copy(plain, path)
            way(path)
            runtimes = {"fp32": MixedRuntime(plain, decoder=decoder), "setting": MixedRuntime(path, decoder=decoder)}
            predictor = encoders.Predictor(ExportedSam(runtimes["setting"], arch=fused.arch, image_size=size))
            measures = compare(predictor, reference, images, embeddings=embeddings)
            timed = {key: CpuTimed(partial(runtime.encode, first)) for key, runtime in runtimes.items()}
            alternate(timed, rounds=rounds)
            facts[name] = {
                "iou_mean": round(measures.iou_mean, 4),
                "iou_min": round(measures.iou_min, 4),
                "embedding_relative_error": round(measures.embedding_relative_error, 5),
                "megabytes": round(path.stat().st_size / 1e6, 2),
                "time_ratio": round(timed["setting"].cpu_seconds / timed["fp32"].cpu_seconds, 3),
            }
    return facts


def main() -> None:
    """Print the figures, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="run folder, weights, or name")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--photos", type=int, default=20, help="number of the sample's validation photos")
    parser.add_argument("--calibration", type=int, default=64, help="number of the sample's training photos to calibrate on")
    parser.add_argument("--rounds", type=int, default=15, help="number of timed calls")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = run(
        arguments.model,
        image_size=arguments.image_size,
        photos=sample_photos("val", limit=arguments.photos),
        calibration=sample_photos("train", limit=arguments.calibration),
        rounds=arguments.rounds,
    )
    print_facts(facts, as_json=arguments.json)


def sample_photos(split: str, *, limit: int) -> list[Sample]:
    """The first photos of the shipped sample's split."""
    from distill.jobs.sample_data import resolve_data

    data = open_dataset(resolve_data(f"sample:{split}"))
    return [data[index] for index in range(min(limit, len(data)))]


if __name__ == "__main__":
    main()
