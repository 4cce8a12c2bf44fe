"""The certificate of an exported folder, `certificate.json`. It is written last: a folder without it is unfinished."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError
from encoders.files import atomic_path, read_bounded

CERTIFICATE = "certificate.json"
MAX_BYTES = 2**24
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRecord(_Record):
    """The model that was exported.

    Attributes:
        arch: registry name of the image encoder.
        image_size: S in pixels.
        trained: True if a checkpoint was given and hardly any of its weights lie in all-zero tensors; only an evaluation shows
            whether it was trained well. False for random weights (`--untrained`).
        weights: name of the file, run or model that was given.
        weights_sha256: checksum of that file; None if there is no file.
        tensors_sha256: checksum of the unfused model's tensors as they were exported, see `certification.tensors`; differs from
            that of the file's tensors if BatchNorm statistics were estimated again.
        zero_weight_share: share of the fused encoder's weights that lie in all-zero tensors.
        parameters: number of parameters of the fused encoder.
        layers: number of its convolutions and linear layers; 0 in certificates of earlier versions.
        licence: licence of the weights, if they state one.
    """

    arch: str
    image_size: int = Field(gt=0)
    trained: bool
    weights: str
    weights_sha256: Sha256 | None
    tensors_sha256: Sha256
    zero_weight_share: Finite = Field(ge=0, le=1)
    parameters: int = Field(ge=0)
    layers: int = Field(ge=0, le=10_000, default=0)
    licence: str | None = None


class FusionRecord(_Record):
    """Deviation of the fused encoder from the unfused one: largest difference divided by largest value, in float32.

    Attributes:
        photos: measured on the first photos of the certificate.
        random_batchnorm: the same with random statistics and weights in every BatchNorm, because fresh ones hide errors; None
            if the encoder has no BatchNorm, like SAM's ViTs, or was already fused.
    """

    photos: Finite
    random_batchnorm: Finite | None


class Measures(_Record):
    """Deviation of an exported model from the unfused PyTorch model.

    Attributes:
        embedding_relative_error: largest over photos of |difference| / |embedding|, Euclidean, in float64.
        embedding_max_difference: largest absolute difference over all values.
        embedding_cosine: smallest cosine similarity over photos, in float64.
        logits_relative_error: |difference| / |logits| over all photos; the largest over kinds of prompts and mask
            tokens.
        iou_mean, iou_min: mean and smallest IoU over the masks of plain boxes and clicks.
        iou_photo_min: smallest over photos of the mean IoU over the photo's prompts.
        score_max_difference: largest difference of predicted IoU, over all prompts and mask tokens.
        prompts: number of prompts behind the IoUs.
    """

    embedding_relative_error: Finite
    embedding_max_difference: Finite
    embedding_cosine: Finite
    logits_relative_error: Finite
    iou_mean: Finite
    iou_min: Finite
    iou_photo_min: Finite
    score_max_difference: Finite
    prompts: int = Field(ge=1)


class Thresholds(_Record):
    """Limits on `Measures`: maxima for errors and differences, minima for IoUs."""

    embedding_relative_error: Finite
    logits_relative_error: Finite
    score_max_difference: Finite
    iou_mean: Finite
    iou_min: Finite
    iou_photo_min: Finite

    def failures(self, measures: Measures) -> list[str]:
        """Return one sentence for each measure that misses its limit."""
        found = []
        for name in ("embedding_relative_error", "logits_relative_error", "score_max_difference"):
            reached, allowed = getattr(measures, name), getattr(self, name)
            if not reached <= allowed:
                found.append(f"{name} {reached:.2g}, at most {allowed:g} allowed")
        for name in ("iou_mean", "iou_min", "iou_photo_min"):
            reached, wanted = getattr(measures, name), getattr(self, name)
            if not reached >= wanted:
                found.append(f"{name} {reached:.4f}, at least {wanted:g} wanted")
        return found


class RuntimeRecord(_Record):
    """The measurements in one runtime.

    Attributes:
        name: runtime and version.
        how: "executed" by the runtime itself; "interpreted" from the saved program by this project; "not run here".
        precision: the precision it computed in; None if it did not run.
        measures: None if it did not run.
    """

    name: str
    how: Literal["executed", "interpreted", "not run here"]
    precision: str | None
    measures: Measures | None


class FileRecord(_Record):
    """A file of the folder."""

    bytes: int = Field(ge=0)
    sha256: Sha256


class Certificate(_Record):
    """The content of `certificate.json`; see the classes of the attributes.

    Attributes:
        format: as in `--format`; target: the tool that the export is for, or None.
        precision: precision of the artefact, e.g. "fp32", "fp16", "int8".
        padding: how the caller pads, in words.
        frame: input (height, width) of an encoder without padding; None if it takes the padded square.
        no_padding: deviation of PyTorch in that frame, with which the artefact is compared, from PyTorch on the padded square.
        photos: key -> sha256 of the pixels, for each photo measured.
        files: path inside the folder -> its size and checksum; all files but the certificate.
        versions: versions of the packages involved; host: facts about the machine.
    """

    version: Literal[1] = 1
    format: str
    target: str | None = None
    precision: str
    padding: str
    frame: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2)] | None = None
    no_padding: Measures | None = None
    model: ModelRecord
    fusion: FusionRecord
    thresholds: Thresholds
    runtimes: list[RuntimeRecord]
    photos: dict[str, Sha256]
    files: dict[str, FileRecord]
    versions: dict[str, str]
    host: dict[str, str | int | float]


def is_export(folder: Path) -> bool:
    """Return whether a path is a finished export."""
    return (folder / CERTIFICATE).is_file()


def write_certificate(certificate: Certificate, folder: Path) -> None:
    """Write `certificate.json` atomically."""
    with atomic_path(folder / CERTIFICATE) as temporary:
        temporary.write_text(json.dumps(certificate.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def read_certificate(folder: Path) -> Certificate:
    """Read the certificate of an exported folder.

    Raises:
        InputError: there is none, so the folder is not a finished export, or it is damaged.
    """
    path = folder / CERTIFICATE
    if not is_export(folder):
        raise InputError(f"{folder} is not a finished export: it has no {CERTIFICATE}; make it with repvit-sam export")
    content = read_bounded(path, max_bytes=MAX_BYTES, name=str(path))
    try:
        return Certificate.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path} is damaged: {where}: {first['msg']}; export the model again") from error
