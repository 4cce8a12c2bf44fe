"""Register the RepViT-SAM model beside this file with osam, and start osam or labelme with it.

    python repvit_sam_osam.py osam run repvit-sam --image photo.jpg > masks.png
    python repvit_sam_osam.py labelme photos/

Needs osam 0.4 or newer, and labelme for the second command.
"""

import hashlib
import importlib
import os
import sys

import osam

NAME = "repvit-sam:latest"
SAM_NAME = "sam:100m"  # "Sam (speed)" in labelme, whose list of models is fixed
OsamSam = osam.apis.get_model_type_by_name(SAM_NAME).__base__  # the base class of osam's SAM models
FOLDER = os.path.dirname(os.path.abspath(__file__))


class LocalBlob(osam.types.Blob):
    """A file of this folder instead of a download."""

    @property
    def path(self) -> str:
        """The file's path."""
        return os.path.join(FOLDER, self.filename)

    def pull(self, *_: object, **__: object) -> None:
        """Download nothing, whatever arguments osam's version passes.

        Raises:
            FileNotFoundError: the file is missing.
        """
        if not os.path.isfile(self.path):
            raise FileNotFoundError(f"{self.path} is missing; put it beside {os.path.basename(__file__)}")

    def remove(self) -> None:
        """Keep the file, as it is not a download."""


def local_blob(name: str) -> LocalBlob:
    """Return the file of this name, with its checksum in osam's notation."""
    path = os.path.join(FOLDER, name)
    digest = hashlib.sha256()
    if os.path.isfile(path):
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return LocalBlob(url=f"file:///{name}", hash=f"sha256:{digest.hexdigest()}")


def register(name: str = NAME) -> type:
    """Register this model with osam under a name; it replaces a model of the same name.

    Returns:
        The model's class in osam.
    """
    blobs = {"encoder": local_blob("encoder.onnx"), "decoder": local_blob("decoder.onnx")}
    model = type("RepVitSam", (OsamSam,), {"name": name, "_blobs": blobs})
    known = osam.apis.registered_model_types
    known[:] = [model, *(one for one in known if one.name != name)]
    return model


def main() -> None:
    """Run `osam ...` or `labelme ...` with this model registered."""
    if len(sys.argv) < 2 or sys.argv[1] not in ("osam", "labelme"):
        raise SystemExit(f"usage: python {os.path.basename(__file__)} osam|labelme ARGUMENTS")
    tool = sys.argv.pop(1)
    register()
    if tool == "labelme":
        register(SAM_NAME)
    started = importlib.import_module(f"{tool}.__main__")
    (started.main if tool == "labelme" else started.cli)()


if __name__ == "__main__":
    main()
