"""Text of the code as Markdown: what would be markup there is written out."""

import html
import re
from collections.abc import Iterable, Sequence


def escaped(text: str) -> str:
    """Running text: angle brackets and stars outside of code are themselves, an option such as --out is code."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w`])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"`\1`", text))
    return "".join(part if part.startswith("`") else html.escape(part, quote=False).replace("*", r"\*") for part in parts)


def code(text: str) -> str:
    """A piece of code within a line."""
    return f"`{text}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell is Markdown of one line."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
