"""URLs and the retry policy that everything which talks to a server shares."""

import random
from dataclasses import dataclass

SLOWEST_BYTES_PER_SECOND = 8192  # a tenth of a bad mobile connection; at this rate a 300 MB shard takes ten hours
_JITTER = random.SystemRandom()  # a generator of its own, so that the seeded ones of training are not advanced


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Retry policy of downloads and uploads.

    Attributes:
        tries: consecutive tries without progress before giving up. Progress means at least the slowest rate, pauses included.
        first_seconds, longest_seconds: the pause after the first failure, doubled after each further failure up to the
            longest; half of it is random, so that many processes do not retry at the same time.
        timeout_seconds: time without a byte, or lag behind the slowest rate, after which a connection counts as broken.
        slowest_bytes_per_second: the slowest allowed rate.
    """

    tries: int = 8
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    timeout_seconds: float = 60.0
    slowest_bytes_per_second: float = SLOWEST_BYTES_PER_SECOND

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after this many consecutive failures."""
        longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
        return longest * _JITTER.uniform(0.5, 1.0)


DEFAULT_RETRY = Retry()


def is_url(path: object) -> bool:
    """Return whether a place is a URL rather than a folder."""
    return isinstance(path, str) and "://" in path


def join_url(folder: str, name: str) -> str:
    """Return the URL of the file `name` in the folder at a URL."""
    return f"{folder.rstrip('/')}/{name}"
