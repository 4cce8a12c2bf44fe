"""onnxruntime-web comes from a folder that the user names, or from npm by a pinned checksum; else a message says what to do."""

import json
import stat
import tarfile

import pytest

from encoders.errors import InputError, InputWarning
from encoders.export.targets import onnxruntime_web
from encoders.export.targets.onnxruntime_web import FILES, FOLDER_VARIABLE, VERSION, find_onnxruntime_web

COMMAND = f"npm pack onnxruntime-web@{VERSION}"


@pytest.fixture(autouse=True)
def _no_package(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture
def package(tmp_path):
    """A pretended npm package, unpacked."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": VERSION}))
    for name in FILES:
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder


def pretend_npm(tmp_path, monkeypatch, script: str) -> None:
    """Put a shell script in the place of npm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_folder_that_holds_the_package_is_used_and_its_modules_get_names_that_every_server_sends_as_scripts(
    package, tmp_path, monkeypatch
):
    monkeypatch.setenv(FOLDER_VARIABLE, str(package))
    found = find_onnxruntime_web()
    found.write(tmp_path / "ort")
    assert found.version == VERSION
    assert (tmp_path / "ort/ort.wasm.min.js").read_bytes() == b"content of dist/ort.wasm.min.mjs"
    assert "Copyright (c) Microsoft Corporation" in (tmp_path / "ort/LICENSE.txt").read_text()
    assert not list((tmp_path / "ort").glob("*.mjs"))


def test_a_folder_with_another_version_is_used_with_a_note(package, monkeypatch):
    (package / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "1.31.0"}))
    monkeypatch.setenv(FOLDER_VARIABLE, str(package))
    with pytest.warns(InputWarning, match=f"1.31.0; the page was tested with {VERSION}"):
        assert find_onnxruntime_web().version == "1.31.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no readable package.json"),
        ("{", "has no readable package.json"),
        ('{"name": "left-pad", "version": "1.0.0"}', "holds left-pad"),
    ],
)
def test_a_folder_that_holds_something_else_is_refused_with_what_to_do(package, monkeypatch, content, message):
    (package / "package.json").unlink()
    if content is not None:
        (package / "package.json").write_text(content)
    monkeypatch.setenv(FOLDER_VARIABLE, str(package))
    with pytest.raises(InputError, match=message) as caught:
        find_onnxruntime_web()
    assert COMMAND in str(caught.value)


def test_a_package_without_a_file_of_the_page_is_refused_by_its_name(package, monkeypatch):
    (package / "dist/ort.wasm.min.mjs").unlink()
    monkeypatch.setenv(FOLDER_VARIABLE, str(package))
    with pytest.raises(InputError, match="has no readable dist/ort.wasm.min.mjs"):
        find_onnxruntime_web()


def test_without_a_folder_and_without_npm_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm is not installed") as caught:
        find_onnxruntime_web()
    assert COMMAND in str(caught.value)
    assert FOLDER_VARIABLE in str(caught.value)


def test_an_npm_that_fails_is_quoted(tmp_path, monkeypatch):
    pretend_npm(tmp_path, monkeypatch, "echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(InputError, match=r"npm cannot fetch onnxruntime-web .*ENOTFOUND"):
        find_onnxruntime_web()


def test_an_npm_that_says_nothing_and_brings_nothing_is_refused(tmp_path, monkeypatch):
    pretend_npm(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(InputError, match="without an error message"):
        find_onnxruntime_web()


def test_a_package_of_another_checksum_is_not_used(package, tmp_path, monkeypatch):
    archive = pack(package, tmp_path)
    pretend_npm(tmp_path, monkeypatch, f'for last; do :; done; cp {archive} "$last/"')
    with pytest.raises(InputError, match="checksum sha512-.*rejected; check npm's registry setting, or fetch the package"):
        find_onnxruntime_web()


def test_the_pinned_package_is_taken_from_npm(package, tmp_path, monkeypatch):
    archive = pack(package, tmp_path)
    pretend_npm(tmp_path, monkeypatch, f'for last; do :; done; cp {archive} "$last/"')
    monkeypatch.setattr(onnxruntime_web, "INTEGRITY", onnxruntime_web.integrity(archive.read_bytes()))
    assert find_onnxruntime_web().files["ort.webgpu.min.js"] == b"content of dist/ort.webgpu.min.mjs"


def pack(package, tmp_path):
    """The package as npm packs it."""
    archive = tmp_path / f"onnxruntime-web-{VERSION}.tgz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(package, "package")
    return archive
