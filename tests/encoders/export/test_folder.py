"""Output folders: complete or absent, and nothing of the user's is deleted on the way."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from encoders.errors import InputError, InputWarning
from encoders.export.certification.certificate import Certificate, ModelRecord, write_certificate
from encoders.export.certification.thresholds import thresholds_for
from encoders.export.folder import file_records, new_folder

SHA = "0" * 64


def fill(folder, text):
    """A finished export: one file in a folder of its own, and the certificate that lists it."""
    (folder / "weights").mkdir()
    (folder / "weights" / "model.bin").write_text(text)
    model = ModelRecord(
        arch="a",
        image_size=64,
        trained=True,
        weights="w",
        weights_sha256=SHA,
        tensors_sha256=SHA,
        zero_weight_share=0,
        parameters=1,
    )
    thresholds = thresholds_for("fp32")
    facts = {"format": "plain", "precision": "fp32", "padding": "zeros", "fusion": {"photos": 0, "random_batchnorm": None}}
    files = file_records(folder)
    certificate = Certificate(
        **facts, model=model, thresholds=thresholds, runtimes=[], photos={}, files=files, versions={}, host={}
    )
    write_certificate(certificate, folder)


def export(out, text="new", *, overwrite=False):
    with new_folder(out, overwrite=overwrite) as folder:
        fill(folder, text)


def content(folder):
    return (folder / "weights" / "model.bin").read_text()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path):
    """A folder that holds an export."""
    export(tmp_path / "out", "old")
    return tmp_path / "out"


@pytest.fixture
def rename_fails(monkeypatch):
    """Make a rename fail, chosen by its target and by how many renames came before."""

    def arm(chosen):
        rename, calls = Path.rename, []

        def failing(self, target):
            calls.append(target)
            if chosen(Path(target), len(calls)):
                raise OSError(errno.EACCES, "Permission denied")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", failing)

    return arm


@pytest.mark.parametrize("out", [".", "../here", "../../{root}/here"])
def test_the_current_folder_is_refused_by_whatever_name(tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="current folder.*for example .*here/exported"):
        export(Path(out.format(root=tmp_path.name)))
    assert left(tmp_path) == ["here"] and left(tmp_path / "here") == []


def test_an_export_that_contains_the_current_folder_is_refused(old, monkeypatch):
    monkeypatch.chdir(old / "weights")
    with pytest.raises(InputError, match="current folder"):
        export(Path(".."), overwrite=True)
    assert content(old) == "old"


def test_relative_paths_and_empty_folders_are_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for out in ("empty", "made/deep/out", "./made/../plain/"):
        export(Path(out))
    assert content(tmp_path / "empty") == content(tmp_path / "made/deep/out") == content(tmp_path / "plain") == "new"
    assert left(tmp_path) == ["empty", "made", "plain"]


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_symbolic_link_is_refused_with_the_folder_it_points_to(tmp_path, target):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=f"link is a symbolic link.*{tmp_path / target}"):
        export(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink() and left(tmp_path) == ["link", "there"]


def test_a_mount_point_is_refused(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == tmp_path / "out")
    with pytest.raises(InputError, match="mount point.*folder inside it"):
        export(tmp_path / "out")


def test_overwrite_replaces_an_export_and_leaves_nothing_beside_it(old, tmp_path):
    with pytest.raises(InputError, match="holds an export already.*--overwrite"):
        export(old)
    assert content(old) == "old"
    export(old, overwrite=True)
    assert content(old) == "new" and left(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["mine.txt", "weights/mine.txt", "weights/certificate.json"])
def test_files_of_the_user_in_an_export_are_named_before_the_work_starts(old, name):
    (old / name).write_text("mine")
    with (
        pytest.raises(InputError, match=f"holds files .* for example {name}.*move them"),
        new_folder(old, overwrite=True),
    ):
        pytest.fail("the work started")
    assert (old / name).read_text() == "mine" and content(old) == "old"


def test_files_that_are_added_during_the_work_are_kept(old, tmp_path):
    with pytest.raises(InputError, match="for example mine.txt"), new_folder(old, overwrite=True) as folder:
        fill(folder, "new")
        (old / "mine.txt").write_text("mine")
    assert (old / "mine.txt").exists() and content(old) == "old" and left(tmp_path) == ["out"]


@pytest.mark.parametrize("damage", ["{", json.dumps({"version": 1})])
def test_an_export_with_a_damaged_certificate_is_not_replaced(old, damage):
    (old / "certificate.json").write_text(damage)
    with pytest.raises(InputError, match="certificate.json is damaged.*[dD]elete"):
        export(old, overwrite=True)
    assert content(old) == "old"


def test_the_old_export_is_put_back_when_the_new_one_cannot_be_renamed(old, tmp_path, rename_fails):
    rename_fails(lambda target, call: call == 2)
    with pytest.raises(InputError, match="Permission denied"):
        export(old, overwrite=True)
    assert content(old) == "old" and left(tmp_path) == ["out"]


def test_an_old_export_that_cannot_be_put_back_is_kept_and_named(old, tmp_path, rename_fails):
    rename_fails(lambda target, call: call >= 2)
    with pytest.raises(InputError, match=r"previous content.*\.old"):
        export(old, overwrite=True)
    (kept,) = tmp_path.iterdir()
    assert kept.name.endswith(".old") and content(kept) == "old"


def test_the_new_export_stands_when_the_old_one_cannot_be_deleted(old, tmp_path, monkeypatch):
    rmtree = shutil.rmtree

    def partial(path, ignore_errors=False, **options):
        if str(path).endswith(".tmp"):
            return rmtree(path, ignore_errors=ignore_errors, **options)
        (Path(path) / "certificate.json").unlink()
        if not ignore_errors:
            raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", partial)
    with pytest.warns(InputWarning, match="could not be deleted"):
        export(old, overwrite=True)
    assert content(old) == "new" and (old / "certificate.json").is_file() and len(left(tmp_path)) == 2


def test_folders_made_on_the_way_are_removed_when_the_work_fails(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError, match="converter"), new_folder(tmp_path / "a" / "b" / "c" / "out", overwrite=False):
        raise RuntimeError("the converter failed")
    assert left(tmp_path) == ["a"] and left(tmp_path / "a") == []


def test_a_folder_made_on_the_way_stays_where_something_else_was_put_into_it(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a" / "b" / "out", overwrite=False):
        (tmp_path / "a" / "mine.txt").write_text("mine")
        raise RuntimeError
    assert left(tmp_path / "a") == ["mine.txt"]


@pytest.mark.parametrize("words", ["write failed", ""])
def test_any_exception_on_a_full_disk_is_reported_as_one(tmp_path, monkeypatch, words):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with (
        pytest.raises(InputError, match=rf"cannot be written \({words or 'RuntimeError'}, 0 MiB free\)"),
        new_folder(tmp_path / "out", overwrite=False),
    ):
        raise RuntimeError(words)
    assert left(tmp_path) == []


def test_only_the_certificate_at_the_top_is_left_out_of_the_records(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("certificate.json", "inner/certificate.json", "model.bin"):
        (tmp_path / name).write_text(name)
    assert set(file_records(tmp_path)) == {"inner/certificate.json", "model.bin"}
