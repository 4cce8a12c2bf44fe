"""Ends a child process of `distill.launching.process_group` when its parent ends."""

import ctypes
import os
import signal
import sys

STARTER = "REPVIT_SAM_STARTER"  # variable that holds the number of the starting process
PR_SET_PDEATHSIG = 1  # linux/prctl.h: which signal to get when the parent ends
_in_group = False


def end_with_starter() -> None:
    """Make this process end with its parent, even on kill -9. Works on Linux, in processes started by `process_group`.

    Called before anything heavy is imported, and harmless when called again.
    """
    global _in_group
    starter = os.environ.pop(STARTER, None)
    _in_group = _in_group or starter is not None
    if starter is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(starter):  # the parent ended before prctl took effect
        sys.exit(128 + signal.SIGTERM)


def in_group() -> bool:
    """Return whether a command of ours with --num-processes started this process, so that the command reports the result."""
    return _in_group
