"""Publishing finished shards, by any number of processes, so that the first one counts.

The entry of a shard is its claim: it is created only if there is none, and then the shard gets its name. A process that comes
later discards its own shard, which on another kind of GPU may have other bytes. An entry without its shard, left by a process
that was killed between the two, counts as missing (`shards.pipeline.shard_plan.finished`), and the shard is made again.
"""

import os
import platform
import secrets
from pathlib import Path

from shards.cache.files import append_line, create, to_line
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.work_folder import entry_path, journal_folder


class Publisher:
    """Publishes shards of an unfinished cache for one process, which has a journal of its own.

    Args:
        folder: the cache.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._journal = journal_folder(folder) / f"{owner}.jsonl"

    def publish(self, made: MadeShard) -> bool:
        """Publish a shard; return False if another process has published one of this number.

        Raises:
            FileNotFoundError: the work folder is gone, because the cache was finished.
            InputError: something cannot be written.
        """
        try:
            ours = self._claim(made)
        finally:
            made.discard()
        if ours:
            append_line(self._journal, {"shard": made.entry.name, "quarantined": made.entry.quarantined})
        return ours

    def _claim(self, made: MadeShard) -> bool:
        entry = entry_path(self._folder, made.index)
        if not create(entry, to_line(made.entry.to_json())):
            return False
        ours = False
        try:
            # A file that is there although it had no entry was left by a killed process
            ours = made.publish(replace=made.path.exists())
        finally:
            if not ours:
                entry.unlink(missing_ok=True)
        return ours
