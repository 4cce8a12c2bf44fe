r"""Safe display of untrusted text such as names of models and photos: invisible characters are escaped.

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
    r"""Escape every invisible character of the text: ESC as `\x1b`, a direction mark as `\u202e`.

    Args:
        keep: characters to leave as they are: "\n" for a message of several lines.
    """
    if text.isprintable():
        return text
    return "".join(_escape(char) if _is_unseen(char) and char not in keep else char for char in text)


def spreadsheet_cell(text: str) -> str:
    """Prefix the text with an apostrophe if a spreadsheet would take it for a formula; numbers are not changed."""
    return f"'{text}" if text.startswith(tuple(FORMULA)) and not NUMBER.fullmatch(text) else text


def _is_unseen(char: str) -> bool:
    return char not in JOINERS and unicodedata.category(char) in UNSEEN


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
