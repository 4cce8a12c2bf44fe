"""Text helpers for messages."""


def counted(count: int, noun: str, *, plural: str | None = None) -> str:
    """ "1 photo", "2 photos": a number with its noun.

    Args:
        plural: where it is more than the noun with an s, as "categories".
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
