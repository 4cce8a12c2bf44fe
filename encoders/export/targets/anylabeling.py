"""AnyLabeling: a zip of `config.yaml` and both models, as its download expects it.

Source: vietanhdev/anylabeling, `anylabeling/services/auto_labeling/model_manager.py` (`load_custom_model`, `download_zip`),
`segment_anything.py` (`SegmentAnything`, whose `detect_model_variant` takes a decoder for SAM's if `high_res_feats_0`,
`backbone_fpn_0` and `language_mask` are not among its inputs) and `sam_onnx.py` (`SegmentAnythingONNX`), which warps photos
as X-AnyLabeling does.
"""

import tempfile
import zipfile
from pathlib import Path

import yaml

from encoders.errors import InputError
from encoders.export.formats.onnx import DECODER, ENCODER
from encoders.export.targets.tool_runtime import PhotoToolRuntime
from encoders.export.targets.x_anylabeling import XAnyLabelingTarget, labeling_config, open_photo_model, write_photo_model
from encoders.sam import Sam

ARCHIVE = "model.zip"
CONFIG = "config.yaml"

README = """# For AnyLabeling

Unpack `model.zip` into a folder of its own, choose "Load Custom Model" in AnyLabeling's list of models, and open `config.yaml`.
If you serve the zip over HTTP, `download_url` of an entry in AnyLabeling's `models.yaml` can point to it.

The tool fits every photo into 1024 x 684 pixels (width x height), so the model sees a portrait photo at a height of 684 pixels.
The model itself works at {size} pixels: both files in the zip convert from and to the tool's frame.
"""


class AnyLabelingTarget(XAnyLabelingTarget):
    """X-AnyLabeling's two models in a zip."""

    name = "anylabeling"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            unpacked = Path(temporary)
            write_photo_model(sam, unpacked)
            (unpacked / CONFIG).write_text(yaml.safe_dump(labeling_config(sam), sort_keys=False), encoding="utf-8")
            with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
                for name in (CONFIG, ENCODER, DECODER):
                    archive.write(unpacked / name, name)
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> PhotoToolRuntime:
        """See `Format.open`."""
        path = folder / ARCHIVE
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path} is missing or is not a zip; export the model again")
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(path) as archive:
            try:
                for name in (ENCODER, DECODER):
                    archive.extract(name, temporary)
            except (KeyError, zipfile.BadZipFile) as error:
                raise InputError(f"{path} is damaged ({error}); export the model again") from error
            return open_photo_model(Path(temporary), image_size=image_size, threads=threads)
