"""Files for the timed processes: each model is loaded and converted once, before anything is timed."""

from dataclasses import dataclass
from pathlib import Path

import torch

from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError
from encoders.export.certification.certificate import read_certificate
from encoders.export.formats import find_format
from encoders.export.modules.exportable import exportable
from encoders.export.untrained import untrained_subject
from encoders.fusion import fuse
from encoders.sam import Sam
from encoders.weights.checkpoint import load, save_sam
from eval_zeroshot.latency.subjects.subject import FORMAT_RUNTIMES, TORCH_RUNTIMES, ModelFacts

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """What a runtime opens: a file or folder, the precision of its contents, and facts of the model."""

    path: Path
    precision: str
    arch: str
    image_size: int
    trained: bool


class Workshop:
    """Makes the files of a model when a runtime first needs them.

    Args:
        model: as it was given.
        folder: to write to; used for this model only.
        image_size: S in pixels; None takes the model's own, or 1024 for random weights.
        arch: architecture of a foreign checkpoint.
        encoder_only: skip the decoder where the format allows it, as it will not be timed.
    """

    def __init__(
        self, model: ModelFacts, folder: Path, *, image_size: int | None, arch: str | None = None, encoder_only: bool = False
    ) -> None:
        self.model = model
        self.folder = folder
        self.encoder_only = encoder_only
        self._image_size = image_size
        self._arch = arch
        self._sam: Sam | None = None

    def sam(self) -> Sam:
        """The model, unfused.

        Raises:
            InputError: it cannot be loaded, or not at this size.
        """
        if self._sam is None:
            if self.model.source is None:
                assert self.model.arch is not None
                size = IMAGE_SIZE if self._image_size is None else self._image_size
                self._sam = untrained_subject(self.model.arch, image_size=size)
            else:
                self._sam = load(self.model.source, arch=self._arch, image_size=self._image_size)
        return self._sam

    def make(self, runtime: str) -> Artefact:
        """The files of a runtime.

        Raises:
            InputError: the model cannot be loaded or converted.
            MissingExtra: a package that converts is not installed.
        """
        if self.model.exported is not None:
            return self._exported()
        sam = self.sam()
        if runtime in TORCH_RUNTIMES:
            path, precision = self.folder / WEIGHTS, "fp32"
            if not path.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                save_sam(sam, path)
        else:
            path, precision = self._written(FORMAT_RUNTIMES[runtime])
        return Artefact(
            path=path, precision=precision, arch=sam.arch, image_size=sam.image_size, trained=self.model.source is not None
        )

    def _exported(self) -> Artefact:
        assert self.model.source is not None
        folder = Path(self.model.source)
        certificate = read_certificate(folder)
        size = certificate.model.image_size
        if self._image_size not in (None, size):
            given = f"{folder} was exported for {size} px, not {self._image_size}"
            raise InputError(f"{given}; leave --image-size out, or export again")
        return Artefact(
            path=folder,
            precision=certificate.precision,
            arch=certificate.model.arch,
            image_size=size,
            trained=certificate.model.trained,
        )

    def _written(self, format_name: str) -> tuple[Path, str]:
        """Folder and precision of the fused model's files in a format."""
        made = find_format(format_name)
        precision, folder = made.precisions[0], self.folder / format_name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            fused = fuse(self.sam())
            if not (self.encoder_only and write_encoder_alone(fused, folder, format_name=format_name)):
                made.write(fused, folder, precision=precision)
        return folder, precision

    def forget(self) -> None:
        """Free the model's memory; its files stay."""
        self._sam = None


def write_encoder_alone(fused: Sam, folder: Path, *, format_name: str) -> bool:
    """Write the image encoder without a decoder, as the format would; False if that is not implemented for the format."""
    image = torch.zeros(1, 3, fused.image_size, fused.image_size)
    encoder = exportable(fused.image_encoder)
    if format_name == "onnx":
        from encoders.export.formats.onnx import ENCODER, write_encoder

        write_encoder(encoder, folder / ENCODER, image=image)
    elif format_name == "openvino":
        from encoders.export.formats import openvino

        model = openvino.convert(encoder, example=(image,), inputs=("image",), outputs=("image_embeddings",))
        openvino.save(model, folder / openvino.ENCODER, precision="fp32")
    else:
        return False
    return True
