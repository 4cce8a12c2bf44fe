"""Who works on what, told by files in a folder that any number of machines share.

A lease on NAME is the file `NAME.G.lease`, G counting from 0. Its owner touches it while it works. One that was not
touched for a while has lapsed, and whoever makes the file of the next G first holds the lease from then on: one atomic
step, so that nothing has to be removed or locked. Ages are taken by the file system's clock, which all machines share. A date
in the future is none that this clock gave: a lease whose date is further ahead than a lease lasts counts as lapsed too.

A lease saves work, it does not guard data: an owner that was only slow goes on, so what two of them do must come to
the same bytes.
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
BEATS = 20  # at most so many touches within the time of a lease
MAX_BYTES = 2**12  # of a lease file, which has less than 300


class Holder(BaseModel):
    """What a lease file says of its owner."""

    owner: StrictStr
    node: StrictStr | None
    pid: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]


class Lease:
    """A lease that this process holds; as a context manager it is given back at the end, however that comes.

    Attributes:
        lapsed: it was not touched for longer than it lasts, so that others may have taken it.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self.lapsed = False
        self._path = path
        self._seconds = seconds
        self._touched = time.monotonic()

    def beat(self) -> None:
        """Say that the work goes on. Cheap enough to be called often."""
        age = time.monotonic() - self._touched
        self.lapsed = self.lapsed or age > self._seconds
        if age > self._seconds / BEATS:
            self._touched = time.monotonic()
            try:
                os.utime(self._path)
            except FileNotFoundError:  # its work was finished by another
                self.lapsed = True

    def release(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Leases:
    """The leases in a folder, for one process.

    Args:
        folder: exists.
        seconds: untouched for so long, a lease has lapsed; longer than a step of work takes, and than a network file
            system's clients keep what they know of a file (a minute by default).
    """

    def __init__(self, folder: Path, *, seconds: float = LEASE_SECONDS) -> None:
        self.owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.seconds = seconds
        self._folder = folder
        self._clock = folder / f"{self.owner}.clock"

    def take(self, name: str) -> Lease | None:
        """The lease on `name`, or None while another process holds it.

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
        os.utime(path)  # by the file system's clock
        return Lease(path, seconds=self.seconds)

    def now(self) -> float:
        """Seconds by the file system's clock, as modification times have them."""
        self._clock.touch()
        return self._clock.stat().st_mtime

    def _path(self, name: str, generation: int) -> Path:
        return self._folder / f"{name}.{generation}.lease"

    def _is_over(self, path: Path) -> bool:
        """Whether a lease has lapsed, is dated too far ahead, or is of a process of this machine that has ended."""
        holder = _read_holder(path)  # opening makes a network file system look again
        try:
            touched = path.stat().st_mtime
        except FileNotFoundError:
            return False  # given back just now; the next to ask gets it
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
    """What a process number belongs to: this boot of this machine and this container; None where it cannot be known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _read_holder(path: Path) -> Holder | None:
    """Who holds a lease; None where its file cannot be read or was damaged, so that only its date counts."""
    try:
        return Holder.model_validate(parse_json(read_bounded(path, max_bytes=MAX_BYTES, name="it"), name="it"))
    except ValueError:  # InputError and pydantic's
        return None


def _has_ended(holder: Holder) -> bool:
    """Whether a lease's owner is known to have ended, which spares the wait; a number used again only looks alive."""
    if holder.node is None or holder.node != this_node():
        return False
    try:
        os.kill(holder.pid, 0)
        state = Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except (ValueError, IndexError, OSError):
        return False
    return state == "Z"  # ended, but its parent has not asked yet
