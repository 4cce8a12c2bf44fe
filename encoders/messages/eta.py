"""Durations and remaining time as text."""

SHORTEST = 2.0  # seconds of work before anything is said: the first piece includes loading and warm-up


def time_left(done: int, total: int, seconds: float) -> str:
    """Return ", about 3 min left" for a progress line; empty at the beginning and at the end.

    Args:
        done, total: pieces of work done since the start and pieces to be done since then.
        seconds: that `done` took.
    """
    if done <= 0 or done >= total or seconds < SHORTEST:
        return ""
    return f", about {duration(seconds / done * (total - done))} left"


def duration(seconds: float) -> str:
    """Format a duration in at most two units: "40 s", "3 min", "2 h 5 min", "1 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
