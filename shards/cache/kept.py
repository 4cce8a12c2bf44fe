"""A full disk or a folder without permission ends a call with a message that says what is kept and how to go on."""

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
    """Around work that writes to `folder` and goes on where it was when called again.

    Args:
        folder: what the call writes to; named where a failed write does not say its file.
        what: of the work is kept, e.g. "finished shards are kept".
        causes: error numbers that mean a failed write; where the work also reads files of others, NO_ROOM alone does.

    Raises:
        InputError: a write failed; says the file, the reason, the free space, what is kept and what to do.
    """
    try:
        yield
    except (InputError, OSError) as error:
        if SAYS in str(error):  # said nearer to the write
            raise
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in causes:
            raise
        message = str(error) if isinstance(error, InputError) else write_failure(Path(cause.filename or folder), cause)
        mend = "make room" if cause.errno in NO_ROOM else "give this user permission to write"
        raise InputError(f"{message}, or {mend} there and {SAYS}: {what}") from cause
