"""`repvit-sam ingest`, and the `source:` keys of a precompute job."""

import json
import tarfile

import pytest
import yaml
from typer.testing import CliRunner

from distill.cli.app import app
from distill.config.runs import PrecomputeConfig
from distill.jobs.photos import open_photos
from encoders.errors import InputError
from shards.sources.selection import Subset
from tests.shards.helpers.photos import jpeg, make_photo

run = CliRunner()


@pytest.fixture
def tiny_photos(tmp_path):
    """A folder of 14 photos, p00 to p13."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(14):
        (folder / f"p{number:02d}.jpg").write_bytes(jpeg(make_photo(number)))
    return folder


def test_the_shipped_sample_is_planned_and_decoded(tmp_path):
    result = run.invoke(app, ["ingest", "sample:val", "--out", str(tmp_path), "--decode", "--processes", "2", "--json"])
    facts = json.loads(result.stdout)
    assert result.exit_code == 0 and (facts["photos"], facts["bad"], facts["decoded"]) == (32, 0, True)
    assert json.loads((tmp_path / "plan.json").read_text()) == {k: v for k, v in facts.items() if k != "plan"}
    assert not (tmp_path / "quarantine.jsonl").exists()


def test_subset_names_and_masks_choose_as_in_a_job(tmp_path, tiny_photos):
    (tmp_path / "names.txt").write_text("p01.jpg\np05\np06\np07\np08\np13\n")
    options = ["--subset", "50%@seed=4", "--names", str(tmp_path / "names.txt"), "--no-masks", "--json"]
    result = run.invoke(app, ["ingest", str(tiny_photos), "--out", str(tmp_path / "out"), *options])
    expected = [key for key in ("p01", "p05", "p06", "p07", "p08", "p13") if key in Subset.parse("50%@seed=4")]
    facts = json.loads(result.stdout)
    assert facts["photos"] == len(expected) and 0 < len(expected) < 6
    source = {"path": str(tiny_photos), "subset": "50%@seed=4", "names": str(tmp_path / "names.txt"), "masks": False}
    job = PrecomputeConfig.model_validate({"source": source, "teacher": {"model": "sam_demo"}, "out": str(tmp_path / "x")})
    photos = open_photos(job)
    assert [item.key for item in photos.items()] == expected and photos.identity() == facts["source_sha256"]
    assert not (tmp_path / "x").exists()


def test_tars_are_listed_into_the_output_folder_and_a_dry_run_adds_nothing(tmp_path, tiny_photos):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tiny_photos / "p00.jpg", "p00.jpg")
    job = PrecomputeConfig.model_validate(
        {"source": {"path": str(tmp_path / "a.tar"), "views": 3}, "teacher": {"model": "sam_demo"}, "out": str(tmp_path / "o")}
    )
    assert len(open_photos(job, keep_index=False).items()) == 3
    assert not (tmp_path / "o").exists()
    result = run.invoke(app, ["ingest", str(tmp_path / "a.tar"), "--out", str(tmp_path / "o")])
    assert result.exit_code == 0 and "tar 1/1 listed" in result.stderr and "photos: 1" in result.stdout
    assert len(list((tmp_path / "o" / "tar_index").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--subset", "half"], "1%@seed=0"),
        (["--names", "absent.txt"], "absent.txt does not exist"),
        (["--processes", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, tiny_photos, options, words):
    result = run.invoke(app, ["ingest", str(tiny_photos), "--out", str(tmp_path / "out"), *options])
    assert isinstance(result.exception, InputError) and words in str(result.exception)


def test_a_url_is_no_folder_for_a_plan(tmp_path, tiny_photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run.invoke(app, ["ingest", str(tiny_photos), "--out", "s3://bucket/plan"])
    assert isinstance(result.exception, InputError) and "--out=s3://bucket/plan is a URL" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path, tiny_photos):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    result = run.invoke(app, ["ingest", str(tiny_photos), "--out", str(tmp_path / "full" / "file" / "plan")])
    assert isinstance(result.exception, InputError) and "/full/file is a file); choose another place" in str(result.exception)


def test_the_keys_of_a_job_are_written_with_it(tmp_path):
    job = PrecomputeConfig.model_validate(yaml.safe_load("{source: {path: a, subset: 1%@seed=0}, teacher: {model: t}, out: o}"))
    assert (job.source.subset, job.source.names, job.source.masks) == ("1%@seed=0", None, True)
