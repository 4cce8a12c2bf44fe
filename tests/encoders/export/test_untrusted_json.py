"""JSON files that an export or a package brings along and that were damaged, or made to do harm."""

import pytest

from encoders.errors import InputError
from encoders.export.mil.reader import find_model
from encoders.export.targets.apple_segmenter import main_asset
from encoders.export.targets.onnxruntime_web import read_package_folder

CONTENTS = [
    b"", b"{", b"[" * 100_000, b'{"a": "\xff"}', b"9" * 10_000, b'{"itemInfoEntries": NaN}', b"null", b'"text"', b" " * 2**21,
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize(
    ("read", "file"),
    [(find_model, "Manifest.json"), (main_asset, "metadata.json"), (read_package_folder, "package.json")],
)
def test_a_strange_json_file_is_refused_by_name(read, file, content, tmp_path):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=file):
        read(tmp_path)
