"""The last step of a precompute: write the manifest from the entries of all shards and remove the work folder."""

import secrets
import shutil
from pathlib import Path

from encoders.errors import InputError
from shards.cache.files import TEMPORARY_SUFFIX
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import Manifest, write_manifest
from shards.pipeline.quarantine import Quarantine
from shards.pipeline.shard_plan import clear_leftovers, shard_name
from shards.pipeline.work_folder import WORK, known_entries


def merge(folder: Path, *, identity: CacheIdentity, quarantine: Quarantine) -> set[int]:
    """Write `quarantine.jsonl` and `manifest.jsonl` in their final form and remove the work folder.

    Repeated or concurrent calls write the same bytes.

    Returns:
        Numbers of the shards that are missing or differ from their entries; if there are any, nothing was written.

    Raises:
        InputError: too many photos are bad, none is usable, or a key occurs twice; no manifest is written.
        FileNotFoundError: another process has already finished the cache.
    """
    whole = known_entries(folder)
    missing = {index for index in range(identity.shards) if shard_name(index) not in whole}
    if missing:
        return missing
    entries = [whole[name] for name in sorted(whole)]
    for entry in entries:
        quarantine.finished(entry.name, entry.quarantined)
    quarantine.check()
    quarantine.write()
    if not any(entry.keys for entry in entries):
        raise InputError(f"no photo of {identity.source} can be used; see {quarantine.path}")
    manifest = Manifest(folder, identity, tuple(entries))
    manifest.check()
    manifest.check_keys()
    write_manifest(folder, entries)
    clear_leftovers(folder, before=float("inf"))  # before the other processes go on, as they may then write config.yaml
    _remove_work(folder)
    return set()


def _remove_work(folder: Path) -> None:
    """Remove the work folder, renaming it first so that other processes see it disappear atomically."""
    old = folder / f"{WORK}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    (folder / WORK).rename(old)
    shutil.rmtree(old, ignore_errors=True)
