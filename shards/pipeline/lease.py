"""Time-limited work leases, held as files in a folder that any number of machines share.

A lease on NAME is the file `NAME.G.lease`, where the generation G counts from 0. Its owner touches the file while working.
A lease that has not been touched for its duration has lapsed, and the first process to create the file of the next
generation holds the lease: one atomic step without removing or locking anything. Ages are measured by the file system's
clock, which all machines share. A lease dated further ahead of that clock than its duration also counts as lapsed.

A lease avoids duplicate work but does not protect data: a slow owner carries on after its lease has lapsed, so two owners
must produce identical bytes.
"""

import json
import os
import platform
import secrets
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Annotated

from pydantic import BaseModel, Field, StrictInt, StrictStr

from encoders.errors import InputWarning
from encoders.files import read_bounded
from encoders.messages.shown import shown
from encoders.untrusted import parse_json
from shards.cache.files import create

LEASE_SECONDS = 600.0
BEATS = 20  # most touches per lease duration
MAX_BYTES = 2**12  # limit of a lease file; real ones have less than 300


class Holder(BaseModel):
    """The owner's details stored in a lease file."""

    owner: StrictStr
    node: StrictStr | None
    pid: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]


class Lease:
    """A lease held by this process; as a context manager it is always released on exit.

    Attributes:
        lapsed: whether the lease went untouched for longer than its duration, so that another process may hold it now.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self.lapsed = False
        self._path = path
        self._seconds = seconds
        self._touched = time.monotonic()

    def beat(self) -> None:
        """Renew the lease. Cheap enough to be called often."""
        age = time.monotonic() - self._touched
        self.lapsed = self.lapsed or age > self._seconds
        if age > self._seconds / BEATS:
            self._touched = time.monotonic()
            try:
                os.utime(self._path)
            except FileNotFoundError:  # another process finished the work
                self.lapsed = True

    def release(self) -> None:
        """Release the lease."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Leases:
    """The leases in a folder, for one process.

    Args:
        folder: an existing folder.
        seconds: time without a touch after which a lease lapses; must exceed the time of a work step and the attribute
            cache time of network file systems (a minute by default).
    """

    def __init__(self, folder: Path, *, seconds: float = LEASE_SECONDS) -> None:
        self.owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.seconds = seconds
        self._folder = folder
        self._clock = folder / f"{self.owner}.clock"

    def take(self, name: str) -> Lease | None:
        """Take the lease on `name`; None if another process holds it.

        Raises:
            FileNotFoundError: the folder is gone.
        """
        generation = 0
        while (path := self._path(name, generation)).exists():
            generation += 1
        if generation and not self._is_over(self._path(name, generation - 1)):
            return None
        facts = {"owner": self.owner, "node": this_node(), "pid": os.getpid()}
        if not create(path, json.dumps(facts).encode() + b"\n"):
            return None
        os.utime(path)  # measured by the file system's clock
        return Lease(path, seconds=self.seconds)

    def now(self) -> float:
        """Return the file system's current time in seconds, comparable with modification times."""
        self._clock.touch()
        return self._clock.stat().st_mtime

    def _path(self, name: str, generation: int) -> Path:
        return self._folder / f"{name}.{generation}.lease"

    def _is_over(self, path: Path) -> bool:
        """Return whether a lease has lapsed, is dated too far ahead, or belongs to an ended process of this machine."""
        holder = _read_holder(path)  # opening the file makes a network file system refresh its attributes
        try:
            touched = path.stat().st_mtime
        except FileNotFoundError:
            return False  # just released; the next process to ask gets it
        ahead = touched - self.now()
        if ahead > self.seconds:
            owner = "nobody knows who" if holder is None else shown(holder.owner)
            warnings.warn(
                f"{path}, a lease of {owner}, is dated {ahead:.0f} s ahead of the file system's clock, more than the"
                f" {self.seconds:.0f} s that a lease lasts; it counts as lapsed. If that process runs, see to the clocks",
                InputWarning,
                stacklevel=2,
            )
        return (holder is not None and _has_ended(holder)) or abs(ahead) > self.seconds


def this_node() -> str | None:
    """Identify the boot and container in which this machine's process ids are valid; None if unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _read_holder(path: Path) -> Holder | None:
    """Read the owner of a lease; None if the file is unreadable or damaged, in which case only its date counts."""
    try:
        return Holder.model_validate(parse_json(read_bounded(path, max_bytes=MAX_BYTES, name="it"), name="it"))
    except ValueError:  # InputError and pydantic's
        return None


def _has_ended(holder: Holder) -> bool:
    """Return whether the owner is known to have ended. A reused process id counts as alive, which only costs time."""
    if holder.node is None or holder.node != this_node():
        return False
    try:
        os.kill(holder.pid, 0)
        state = Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except (ValueError, IndexError, OSError):
        return False
    return state == "Z"  # a zombie: ended, but not yet reaped by its parent
