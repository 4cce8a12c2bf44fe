"""Which shards an object store has, as a file of the scratch folder that stands for the cache there."""

import json
from collections.abc import Mapping
from pathlib import Path

from encoders.files import atomic_path
from encoders.untrusted import read_json

STORED_FILE = "stored.json"
MAX_BYTES = 2**28


def write_stored(folder: Path, sizes: Mapping[str, int]) -> None:
    """Write names and sizes of the shards in the store."""
    with atomic_path(folder / STORED_FILE) as temporary:
        temporary.write_text(json.dumps(dict(sizes)))


def stored_sizes(folder: Path) -> dict[str, int] | None:
    """Return names and sizes of the shards in the store; None if the folder is a cache itself."""
    path = folder / STORED_FILE
    return {str(name): int(size) for name, size in read_json(path, max_bytes=MAX_BYTES).items()} if path.is_file() else None
