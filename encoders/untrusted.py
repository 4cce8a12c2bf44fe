"""Safe readers of untrusted JSON, JSON lines and YAML, which may be truncated, damaged or malicious.

What comes back is plain values of bounded size and depth. What they mean is checked where they are used, by pydantic models.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from encoders.errors import InputError
from encoders.files import read_bounded

MAX_YAML_BYTES = 2**18
MAX_YAML_NODES = 20_000  # with aliases written out
MAX_REASON = 200  # characters of a parser's message


def read_json(path: Path, *, max_bytes: int, name: str | None = None, finite: bool = True) -> Any:
    """Read and parse a JSON file.

    Args:
        path: links are followed; what is no regular file is refused.
        max_bytes: a larger file is refused unread.
        name: what to call it in an error; its path by default.
        finite: see `parse_json`.

    Raises:
        InputError: it does not exist, cannot be read, is too large, or `parse_json` refuses it.
    """
    name = str(path) if name is None else name
    return parse_json(read_bounded(path, max_bytes=max_bytes, name=name), name=name, finite=finite)


def parse_json(content: bytes | str, *, name: str, finite: bool = True) -> Any:
    """Parse JSON text.

    Args:
        content: UTF-8 bytes, or text.
        name: what to call it in an error.
        finite: refuse NaN and infinities, also where a number is too large for a float. False reads large files of numbers
            faster; who uses them checks them.

    Raises:
        InputError: it is not UTF-8 or not JSON, is nested too deeply, or has a number or text that no program can use.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        value = json.loads(text, parse_constant=_refuse_constant if finite else None, parse_float=_finite if finite else None)
        if "\\ud" in text or "\\uD" in text:  # half of a pair of surrogates would fail where it is written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{name} is nested too deeply; expected JSON as this program writes it") from None
    except ValueError as error:  # JSONDecodeError, UnicodeError, too many digits
        raise InputError(f"{name} is not JSON ({_reason(error)}); it may be damaged or cut off") from error
    return value


def json_kind(value: Any) -> str:
    """Name the type of a parsed JSON value for messages: "a JSON object", "a JSON list", "a JSON number", "null"."""
    if value is None:
        return "null"
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean"}
    return f"a JSON {kinds.get(type(value), 'number')}"


def whole_lines(content: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete lines, without newlines, and the rest after the last newline: a truncated line or nothing.

    Lines end at a newline alone, not at the other separators of `str.splitlines`, which JSON text may contain.
    """
    whole, newline, rest = content.rpartition(b"\n")
    return (whole.split(b"\n") if newline else []), rest


def json_lines(content: bytes, *, name: str, finite: bool = True) -> Iterator[Any]:
    """Parse each line of JSON lines, including a last line without a newline.

    Raises:
        InputError: `parse_json` refuses a line; names it.
    """
    lines, rest = whole_lines(content)
    for number, line in enumerate([*lines, rest] if rest else lines, start=1):
        yield parse_json(line, name=f"{name}, line {number},", finite=finite)


def read_yaml(path: Path, *, name: str | None = None) -> Any:
    """Read and parse a YAML file of at most 256 KiB; see `parse_yaml`.

    Raises:
        InputError: it does not exist, cannot be read, is too large, or `parse_yaml` refuses it.
    """
    name = str(path) if name is None else name
    return parse_yaml(read_bounded(path, max_bytes=MAX_YAML_BYTES, name=name), name=name)


def parse_yaml(content: bytes | str, *, name: str) -> Any:
    """Parse YAML text; only plain types are allowed.

    Raises:
        InputError: it is not UTF-8 or not YAML, has a tag, a key twice in one mapping, an alias inside its own anchor, or, with
            aliases written out, more than 20,000 values; it is nested too deeply, or has a number that no program can use.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, name)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise InputError(f"{name} is nested too deeply; expected a config as docs/ shows it") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is not YAML: {_reason(error)}") from error


def _count(node: yaml.Node, counted: dict[int, int | None], name: str) -> int:
    """Values below a node, aliases written out; `counted` holds None for the nodes above it."""
    if id(node) in counted:
        count = counted[id(node)]
        if count is None:
            raise InputError(f"{name} has an alias inside its own anchor{_place(node)}; write the value out")
        return count
    counted[id(node)] = None
    total = 1
    if isinstance(node, yaml.MappingNode):
        keys = Counter((key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        for (_, key), times in keys.most_common(1):
            if times > 1:
                raise InputError(f"{name} has the key {key!r} twice{_place(node)}; leave one")
        total += sum(_count(key, counted, name) + _count(value, counted, name) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_count(child, counted, name) for child in node.value)
    if total > MAX_YAML_NODES:
        raise InputError(f"{name} has more than {MAX_YAML_NODES} values, aliases written out; expected a config")
    counted[id(node)] = total
    return total


def _place(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})" if node.start_mark else ""


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _reason(error: Exception) -> str:
    """A parser's message on one line, without characters that are not to be printed."""
    text = " ".join(str(error).split())
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_REASON]
