"""Error messages for resumable work that fails because the disk is full or the folder is not writable."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import InputError
from encoders.files import write_failure

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAYS = "run the same command again"
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def kept(folder: Path, *, what: str, causes: tuple[int, ...] = (*NO_ROOM, *NOT_OURS)) -> Iterator[None]:
    """Wrap resumable work that writes to `folder`.

    Args:
        folder: destination folder; named in the message if the error does not name a file.
        what: the part of the work that is kept, e.g. "finished shards are kept".
        causes: error numbers treated as a failed write; pass NO_ROOM alone if the work also reads other files.

    Raises:
        InputError: a write failed; says the file, the reason, the free space, what is kept and what to do.
    """
    try:
        yield
    except (InputError, OSError) as error:
        if SAYS in str(error):  # already reported closer to the write
            raise
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in causes:
            raise
        message = str(error) if isinstance(error, InputError) else write_failure(Path(cause.filename or folder), cause)
        mend = "make room" if cause.errno in NO_ROOM else "give this user permission to write"
        raise InputError(f"{message}, or {mend} there and {SAYS}: {what}") from cause
