"""How long work will still take, in words."""

SHORTEST = 2.0  # seconds of work before anything is said: the first piece includes loading and warm-up


def time_left(done: int, total: int, seconds: float) -> str:
    """", about 3 min left" for the end of a line of progress; nothing at the beginning and the end.

    Args:
        done, total: pieces of work done since the start and pieces to be done since then.
        seconds: that `done` took.
    """
    if done <= 0 or done >= total or seconds < SHORTEST:
        return ""
    return f", about {duration(seconds / done * (total - done))} left"


def duration(seconds: float) -> str:
    """ "40 s", "3 min", "2.5 h" or "4.1 days"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
