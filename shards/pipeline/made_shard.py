"""A shard that is on disk under a temporary name, to be published under its own."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from encoders.files import write_errors
from shards.cache.manifest import ShardEntry


@dataclass(frozen=True, kw_only=True)
class MadeShard:
    """A whole shard, synced to disk under a temporary name; whoever gets it publishes or discards it.

    Attributes:
        index: its number.
        entry: its line of the manifest; the checksum was taken while the file was written.
        temporary: the file, in the folder of the cache.
    """

    index: int
    entry: ShardEntry
    temporary: Path

    @property
    def path(self) -> Path:
        """The shard's final path."""
        return self.temporary.with_name(self.entry.name)

    def publish(self, *, replace: bool = False) -> bool:
        """Give the shard its final name in one step, unless there is a file of that name; return whether it is this shard's.

        Args:
            replace: replace a file of that name, which the caller knows to be damaged.

        Raises:
            FileNotFoundError: the temporary file or its folder was removed, because the cache was finished meanwhile.
            InputError: the folder cannot be written to.
        """
        missing: FileNotFoundError | None = None
        ours = True
        with write_errors(self.path):
            try:
                if replace:
                    self.temporary.replace(self.path)
                else:
                    ours = self._link()
                self.discard()
                _sync_folder(self.path.parent)
            except FileNotFoundError as error:
                missing = error
        if missing is not None:
            raise missing
        return ours

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    def _link(self) -> bool:
        try:
            os.link(self.temporary, self.path)
        except FileExistsError:
            return self.temporary.stat().st_nlink > 1  # NFS repeats requests whose reply was lost: the link may be ours
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links; the last process to come wins
            if self.path.exists():
                return False
            self.temporary.replace(self.path)
        return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
