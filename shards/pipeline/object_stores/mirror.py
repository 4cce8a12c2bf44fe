"""A scratch folder that stands for a cache in an object store: its small files, without its shards.

    stored.json             names and sizes of the shards in the store
    cache.json, manifest.jsonl, quarantine.jsonl, config.yaml, progress.jsonl    as there
    work/shards/NAME.json   entries of finished shards, as there
    NAME.*.tmp              a shard that is being made here

The store is what counts; the folder can be lost at any time. In the store, `work/begun` stands for the work folder of an
unfinished cache: it is made first and removed last. An entry is published after its shard was uploaded and compared.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from encoders.errors import InputError
from encoders.files import check_output_folder
from shards.cache.files import append_line, write_if_other
from shards.cache.identity import CACHE_FILE, MAX_CACHE_BYTES, CacheIdentity
from shards.cache.manifest import MANIFEST_FILE, MAX_LINE_BYTES, MAX_MANIFEST_BYTES, parse_entry
from shards.cache.names import is_shard_name, shard_name
from shards.cache.ordered import ordered_map
from shards.codec.seal import PREFIX, sealed_start
from shards.pipeline.object_stores.stored import stored_sizes, write_stored
from shards.pipeline.progress import PROGRESS_FILE
from shards.pipeline.quarantine import QUARANTINE_FILE
from shards.pipeline.work_folder import ENTRY_SUFFIX, WORK, journal_folder, work_entries
from shards.stores.base import ObjectStore
from shards.stores.objects import open_objects
from shards.stores.retry import is_url

CONFIG_FILE = "config.yaml"
JOURNAL = "store.jsonl"  # of what the entries leave out
BEGUN = f"{WORK}/begun"
ENTRIES = f"{WORK}/shards"
SMALL = {
    CACHE_FILE: MAX_CACHE_BYTES,
    QUARANTINE_FILE: MAX_MANIFEST_BYTES,
    CONFIG_FILE: 2**20,
    PROGRESS_FILE: MAX_MANIFEST_BYTES,
    MANIFEST_FILE: MAX_MANIFEST_BYTES,
}
READ_THREADS = 16  # an entry is one small request


class Mirror:
    """The small files of a cache in an object store, in a folder of this machine. Can be pickled.

    Args:
        store: where the cache is.
        folder: made if absent; of this process and the workers that it leads.
    """

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self._seen: dict[str, int] = {}  # sizes of the entries that are here
        check_output_folder(folder)

    @property
    def url(self) -> str:
        """The cache."""
        return self.store.url

    def pull(self, *, mend: bool = False) -> None:
        """Bring the folder up to date with the store.

        Args:
            mend: remove entries from the store that cannot be used, or whose shard is missing or has another size.
        """
        entries = {Path(name).name: size for name, size in self.store.list(ENTRIES).items()}
        entries = {name: size for name, size in entries.items() if is_shard_name(name.removesuffix(ENTRY_SUFFIX))}
        unfinished = bool(entries) or bool(self.store.list(WORK))
        self._pull_entries(entries, unfinished=unfinished)
        top = self.store.list()
        shards = {name: size for name, size in top.items() if name.startswith("train-") and name.endswith(".tar")}
        write_stored(self.folder, shards)
        for name, max_bytes in SMALL.items():  # after the entries: they are removed when the manifest is there
            if name != PROGRESS_FILE or not (self.folder / name).is_file():  # which this process may be writing
                self._pull_file(name, max_bytes=max_bytes, there=name in top)
        if mend:
            self._mend()

    def pull_identity(self) -> None:
        """Bring `cache.json` up to date."""
        self._pull_file(CACHE_FILE, max_bytes=MAX_CACHE_BYTES, there=True)

    def begin(self, wanted: CacheIdentity) -> CacheIdentity:
        """Begin the cache in the store, or continue the one that was begun there; see `shards.pipeline.shard_plan.begin`."""
        self.pull_identity()
        made = CacheIdentity.read(self.folder)
        if made is None:
            if any(is_shard_name(name) for name in self.store.list()):
                raise InputError(f"{self.url} holds shards but no {CACHE_FILE}, so their teacher is unknown; give another URL")
            self.store.create(CACHE_FILE, json.dumps(asdict(wanted), indent=1, sort_keys=True).encode() + b"\n")
            self.pull_identity()
            made = CacheIdentity.read(self.folder) or wanted
        wanted.check_same(made, folder=self.url)
        return made

    def mark_begun(self) -> None:
        """Say that the cache is unfinished."""
        self.store.create(BEGUN, b"{}\n")

    def sealed(self) -> bool:
        """Return whether new records are of version 2; see `shards.codec.seal.sealed_here`."""
        for name in sorted(name for name in self.store.list() if is_shard_name(name)):
            with suppress(FileNotFoundError):
                sealed = sealed_start(self.store.read_range(name, start=0, size=PREFIX))
                if sealed is not None:
                    return sealed
        return True

    def push(self, name: str) -> None:
        """Write a small file to the store as it is here; remove it there if it is not here."""
        path = self.folder / name
        if not path.is_file():
            self.store.delete([name])
        elif not self.store.same(name, path):
            self.store.upload(name, path)

    def complete(self) -> None:
        """Write the manifest, after all else, and remove the work folder from the store."""
        for name in (QUARANTINE_FILE, PROGRESS_FILE, MANIFEST_FILE):
            self.push(name)
        self.store.delete(self.store.list(ENTRIES))
        self.store.delete(name for name in self.store.list(WORK) if name != BEGUN)
        self.store.delete([BEGUN])

    def forget(self, shards: list[str]) -> None:
        """Remove shards and their entries from the store, shards first."""
        self.store.delete(shards)
        self.store.delete(f"{ENTRIES}/{name}{ENTRY_SUFFIX}" for name in shards)

    def _pull_entries(self, there: dict[str, int], *, unfinished: bool) -> None:
        here = self.folder / WORK / "shards"
        if unfinished or (self.folder / WORK).is_dir():
            here.mkdir(parents=True, exist_ok=True)
            journal_folder(self.folder).mkdir(parents=True, exist_ok=True)
        if here.is_dir():
            for path in here.iterdir():
                if path.name not in there:
                    path.unlink(missing_ok=True)
        if not self._seen and (old := journal_folder(self.folder) / JOURNAL).is_file():
            old.unlink()  # of an earlier call
        new = [name for name, size in there.items() if self._seen.get(name) != size]
        read = ordered_map(
            lambda name: self.store.read(f"{ENTRIES}/{name}", max_bytes=MAX_LINE_BYTES),
            new,
            threads=READ_THREADS,
            ahead=4 * READ_THREADS,
        )
        for name, content in zip(new, read, strict=True):
            if content is not None:  # else the cache was finished meanwhile
                write_if_other(here / name, content)
                self._note(content)
        self._seen = there

    def _note(self, content: bytes) -> None:
        """Write into a journal what an entry leaves out, for the count of bad photos."""
        with suppress(InputError):  # one that cannot be read is made again
            entry = parse_entry(content)
            if entry.quarantined:
                line = {"shard": entry.name, "quarantined": entry.quarantined}
                append_line(journal_folder(self.folder) / JOURNAL, line)

    def _pull_file(self, name: str, *, max_bytes: int, there: bool) -> None:
        content = self.store.read(name, max_bytes=max_bytes) if there else None
        if content is None:
            (self.folder / name).unlink(missing_ok=True)
        else:
            write_if_other(self.folder / name, content)

    def _mend(self) -> None:
        sizes = stored_sizes(self.folder) or {}
        usable, damaged = work_entries(self.folder)
        bad = [*damaged, *(name for name, entry in usable.items() if sizes.get(name) != entry.bytes)]
        self.store.delete(f"{ENTRIES}/{name}{ENTRY_SUFFIX}" for name in bad)
        for name in bad:
            (self.folder / ENTRIES / f"{name}{ENTRY_SUFFIX}").unlink(missing_ok=True)
            self._seen.pop(f"{name}{ENTRY_SUFFIX}", None)


def entry_name(index: int) -> str:
    """Return the name of a shard's entry in the store."""
    return f"{ENTRIES}/{shard_name(index)}{ENTRY_SUFFIX}"


def scratch_folder(url: str, scratch: Path | str | None = None) -> Path:
    """Return the folder for the work on a cache at a URL: below `scratch`, or in the user's folder for caches."""
    base = Path(scratch) if scratch else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repvit-sam"
    return base / f"cache-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:16]}"


def open_mirror(url: str, *, scratch: Path | str | None = None, rank: int = 0, world_size: int = 1) -> Mirror:
    """Open the cache at a URL for work in a scratch folder; each rank of a group has its own.

    Raises:
        InputError: see `shards.stores.objects.open_objects`; or the folder cannot be made or written to.
    """
    folder = scratch_folder(url, scratch)
    return Mirror(open_objects(url), folder / f"rank-{rank}-of-{world_size}" if world_size > 1 else folder)


@contextmanager
def small_files(cache: Path | str) -> Iterator[Path]:
    """Yield a folder with the small files of a cache: its own, or a temporary copy of those at a URL."""
    if not is_url(cache):
        yield Path(cache)
        return
    with tempfile.TemporaryDirectory() as folder:
        mirror = Mirror(open_objects(str(cache)), Path(folder))
        mirror.pull()
        try:
            yield mirror.folder
        except InputError as error:
            if folder not in str(error):
                raise
            raise InputError(str(error).replace(folder, mirror.url)) from error
