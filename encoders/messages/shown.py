r"""Text from outside, as names of models and photos, in a form that is safe to print: what cannot be seen is written out.

An escape sequence in a name would move the cursor or recolour a terminal, a direction mark would turn the rest of a line
around, and a name that begins with `=` would be computed by a spreadsheet.
"""

import re
import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, format and direction marks, half characters, line separators
JOINERS = "\u200c\u200d"  # format characters that Persian, Indian scripts and emoji are written with; harmless
FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # what a formula begins with, also in the wide forms of Chinese and Japanese
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def shown(text: str, *, keep: str = "") -> str:
    r"""The text with every character that has no shape of its own as its escape: ESC as `\x1b`, a direction mark as `\u202e`.

    Args:
        keep: characters to leave as they are: "\n" for a message of several lines.
    """
    if text.isprintable():
        return text
    return "".join(_escape(char) if _is_unseen(char) and char not in keep else char for char in text)


def spreadsheet_cell(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay as they are."""
    return f"'{text}" if text.startswith(tuple(FORMULA)) and not NUMBER.fullmatch(text) else text


def _is_unseen(char: str) -> bool:
    return char not in JOINERS and unicodedata.category(char) in UNSEEN


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
