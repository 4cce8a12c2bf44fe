"""onnxruntime-web's own files, from a copy of the npm package that the user has, or from npm; none is part of this package."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import InputError, InputWarning
from encoders.untrusted import read_json

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # of its .tgz
FOLDER_VARIABLE = "REPVIT_SAM_ONNXRUNTIME_WEB"  # a folder that holds the package
TIMEOUT_SECONDS = 600
MAX_PACKAGE_JSON = 2**20  # bytes
# File of the package -> its name in the page's folder. Some servers do not send .mjs as a script, so it becomes .js.
FILES = {
    "dist/ort.wasm.min.mjs": "ort.wasm.min.js",
    "dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "dist/ort.webgpu.min.mjs": "ort.webgpu.min.js",
    "dist/ort-wasm-simd-threaded.asyncify.mjs": "ort-wasm-simd-threaded.asyncify.js",
    "dist/ort-wasm-simd-threaded.asyncify.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
BY_HAND = (
    f"fetch the package on another machine with `npm pack {PACKAGE}@{VERSION}`, unpack it with "
    f"`tar xzf {PACKAGE}-{VERSION}.tgz`, and set {FOLDER_VARIABLE} to the folder `package` that it creates"
)
HOW_TO = f"either install npm, or {BY_HAND}"


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeWeb:
    """onnxruntime-web, ready to be copied to a page's folder.

    Attributes:
        version: version of the npm package.
        files: name in the page's folder -> content.
    """

    version: str
    files: dict[str, bytes]

    def write(self, folder: Path) -> None:
        """Write the files and the package's licence into a new folder."""
        folder.mkdir()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        (folder / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")


def find_onnxruntime_web() -> OnnxRuntimeWeb:
    """Return the package in the folder that `REPVIT_SAM_ONNXRUNTIME_WEB` names, or else the pinned version, fetched by npm.

    Raises:
        InputError: the folder does not hold the package, or there is neither a folder nor npm, or npm cannot fetch the package,
            or its checksum is not the pinned one. The message says what to do.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        return read_package_folder(Path(folder))
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"the page needs {PACKAGE} {VERSION}, and npm is not installed to fetch it; {HOW_TO}")
    with tempfile.TemporaryDirectory() as temporary:
        return read_package_archive(fetch_by_npm(npm, Path(temporary)))


def read_package_folder(folder: Path) -> OnnxRuntimeWeb:
    """Read the package from a folder: an unpacked archive, or `node_modules/onnxruntime-web`.

    Raises:
        InputError: it holds something else, or lacks a file that the page loads.
    """
    try:
        about = read_json(folder / "package.json", max_bytes=MAX_PACKAGE_JSON)
        name, version = about["name"], about["version"]
    except (InputError, KeyError, TypeError):
        name = version = None
    if name != PACKAGE:
        found = "has no readable package.json" if name is None else f"holds {name}"
        raise InputError(f"{FOLDER_VARIABLE} is {folder}, which {found}; expected the npm package {PACKAGE}: {HOW_TO}")
    if version != VERSION:
        warnings.warn(f"{folder} holds {PACKAGE} {version}; the page was tested with {VERSION}", InputWarning, stacklevel=2)
    files = {}
    for source, target in FILES.items():
        try:
            files[target] = (folder / source).read_bytes()
        except OSError as error:
            raise InputError(f"{folder} ({PACKAGE} {version}) has no readable {source}; {HOW_TO}") from error
    return OnnxRuntimeWeb(version=version, files=files)


def fetch_by_npm(npm: str, folder: Path) -> Path:
    """Fetch the pinned package's .tgz into a folder by `npm pack`, and return its path.

    Raises:
        InputError: npm fails or takes longer than ten minutes.
    """
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--ignore-scripts", "--pack-destination", str(folder)]
    environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"npm cannot fetch {PACKAGE} {VERSION} ({error}); {BY_HAND}") from error
    archive = folder / f"{PACKAGE}-{VERSION}.tgz"
    if done.returncode or not archive.is_file():
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["without an error message"]
        raise InputError(f"npm cannot fetch {PACKAGE} {VERSION} ({lines[0].strip()}); {BY_HAND}")
    return archive


def read_package_archive(archive: Path) -> OnnxRuntimeWeb:
    """Read the page's files from the pinned package's .tgz.

    Raises:
        InputError: its checksum is not the pinned one.
    """
    content = archive.read_bytes()
    found = integrity(content)
    if found != INTEGRITY:
        raise InputError(
            f"npm fetched {PACKAGE} {VERSION} with checksum {found}, expected {INTEGRITY}; it was rejected; check npm's "
            f"registry setting, or {BY_HAND}"
        )
    files = {}
    with tarfile.open(archive) as opened:
        for source, target in FILES.items():
            member = opened.extractfile(f"package/{source}")
            assert member is not None  # the checksum guarantees it
            files[target] = member.read()
    return OnnxRuntimeWeb(version=VERSION, files=files)


def integrity(content: bytes) -> str:
    """Return a checksum in npm's notation."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


LICENSE = """\
The files in this folder are those of the npm package onnxruntime-web (https://github.com/microsoft/onnxruntime),
unchanged except for the ending of their names. Third-party notices: ThirdPartyNotices.txt in that repository.

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
