"""Where a folder of this machine is needed, a URL is refused instead of becoming a folder named after it."""

from pathlib import Path

import pytest

from encoders.errors import InputError
from encoders.local_folder import check_local_folder


@pytest.mark.parametrize(
    "given",
    ["s3://bucket/cache", "gs://b", "file:///data/cache", "https://host/c", "simplecache::s3://b/c", Path("s3://bucket/cache")],
)
def test_a_url_is_refused_also_after_pathlib_has_shortened_it(given: Path | str) -> None:
    with pytest.raises(InputError, match=r"--out=.* is a URL; expected a folder of this machine"):
        check_local_folder(given, name="--out")


@pytest.mark.parametrize("given", ["", "a\0b"])
def test_what_is_no_path_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="is not a folder name"):
        check_local_folder(given, name="out")


@pytest.mark.parametrize("given", ["runs/a:b", "/data/s3:/cache", "../cache", "C", "a:/b", "höhle/2026-01-01T10:00:00"])
def test_names_of_folders_pass_unchanged(given: str) -> None:
    assert check_local_folder(given, name="out") == Path(given)
