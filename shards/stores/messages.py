"""What may be shown of URLs and of what clients of object stores say: no credentials, one line."""

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote

from encoders.messages.shown import shown

MAX_REASON = 300  # characters
HIDDEN = "***"
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SIGNED = re.compile(
    r"(?i)((?:x-amz-|x-goog-)?(?:signature|credential|security-token|access_?key_?id|secret_?access_?key|password|token|sig)"
    r"[\"']?\s*[=:]\s*[\"']?)[^&\s\"',;)]+"
)
_SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|SAS")
_SHORTEST = 8  # characters of a variable's value that is taken for a secret


def without_credentials(text: str, *, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without user names and passwords of URLs, signatures, and values of variables that hold secrets."""
    text = _SIGNED.sub(rf"\1{HIDDEN}", _USER.sub("", text))
    for name, value in environment.items():
        if len(value) >= _SHORTEST and _SECRET_NAMES.search(name.upper()):
            text = text.replace(value, HIDDEN).replace(unquote(value), HIDDEN)
    return text


def reason_of(error: BaseException) -> str:
    """Return what a client says as one printable line: the error's class and its text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {shown(without_credentials(text))}"[:MAX_REASON] if text else type(error).__name__
