"""Register the RepViT-SAM model that lies beside this file with osam, and start osam or labelme with it.

    python repvit_sam_osam.py osam run repvit-sam --image photo.jpg > masks.png
    python repvit_sam_osam.py labelme photos/

Needs osam (0.4 or newer), and labelme for labelme.
"""

import hashlib
import importlib
import os
import sys

import osam

NAME = "repvit-sam:latest"
SAM_NAME = "sam:100m"  # in labelme, whose list of models is fixed, it is called "Sam (speed)"
OsamSam = osam.apis.get_model_type_by_name(SAM_NAME).__base__  # what osam's SAM models have in common
FOLDER = os.path.dirname(os.path.abspath(__file__))


class LocalBlob(osam.types.Blob):
    """A file of this folder in the place of a download."""

    @property
    def path(self) -> str:
        """Where the file is."""
        return os.path.join(FOLDER, self.filename)

    def pull(self, *_: object, **__: object) -> None:
        """Nothing to download, whatever osam's version passes; says so where the file is missing."""
        if not os.path.isfile(self.path):
            raise FileNotFoundError(f"{self.path} is missing; it belongs beside {os.path.basename(__file__)}")

    def remove(self) -> None:
        """Keep the file: osam removes downloads only."""


def local_blob(name: str) -> LocalBlob:
    """The file of that name, with its checksum as osam writes it."""
    path = os.path.join(FOLDER, name)
    digest = hashlib.sha256()
    if os.path.isfile(path):
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return LocalBlob(url=f"file:///{name}", hash=f"sha256:{digest.hexdigest()}")


def register(name: str = NAME) -> type:
    """Make osam know this model under a name, in the place of one that has it.

    Returns:
        osam's class of the model.
    """
    blobs = {"encoder": local_blob("encoder.onnx"), "decoder": local_blob("decoder.onnx")}
    model = type("RepVitSam", (OsamSam,), {"name": name, "_blobs": blobs})
    known = osam.apis.registered_model_types
    known[:] = [model, *(one for one in known if one.name != name)]
    return model


def main() -> None:
    """`osam ...` or `labelme ...`, with this model registered."""
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
