"""The reference of the command line, from the commands themselves."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

from markdown_text import code, escaped, table

from distill.cli.app import COMMANDS, Commands

INTRODUCTION = """# Commands

Every command of `repvit-sam`, with the text of its `--help`. Exit codes: 0 on success, 2 on bad input or a missing extra (the
message says what to do), 1 on failure, 130 after Ctrl-C, 143 after SIGTERM.
"""


def commands_page() -> str:
    """All commands and the commands below them, each with its arguments and options."""
    sections = [section for name in COMMANDS for section in _sections(Commands.load(name), f"repvit-sam {name}", level=2)]
    return "\n".join([INTRODUCTION, *sections])


def _sections(command: Any, called: str, *, level: int) -> Iterator[str]:
    below = getattr(command, "commands", {})
    arguments = "".join(f" {_shown_argument(p)}" for p in command.params if p.param_type_name == "argument")
    yield f"{'#' * level} {called.removeprefix('repvit-sam ')}\n"
    yield f"```\n{called}{' COMMAND …' if below else f'{arguments} [OPTIONS]'}\n```\n"
    yield _help(command.help or "")
    if below:
        yield f"Commands: {', '.join(code(name) for name in below)}.\n"
    if rows := list(_rows(command)):
        yield table(("option", "value", "default", "meaning"), rows) + "\n"
    for name, child in below.items():
        yield from _sections(child, f"{called} {name}", level=level + 1)


def _help(text: str) -> str:
    """Help as Markdown: each example is a block of code."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        words, found, example = paragraph.rpartition("repvit-sam ") if "`repvit-sam" not in paragraph else (paragraph, "", "")
        if not found:
            paragraphs.append(escaped(paragraph))
            continue
        if words.strip():
            paragraphs.append(escaped(words.strip()))
        paragraphs.append(f"```\nrepvit-sam {example.strip()}\n```")
    return "\n\n".join(paragraphs) + "\n"


def _rows(command: Any) -> Iterator[tuple[str, str, str, str]]:
    hints = get_type_hints(command.callback) if command.callback else {}
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        name = ", ".join(code(option) for option in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            name = code(_shown_argument(parameter))
        flag = getattr(parameter, "is_flag", False)
        value = "" if flag else type_words(hints.get(parameter.name, str))
        yield name, value, _default(parameter, flag=flag), escaped(getattr(parameter, "help", None) or "")


def _shown_argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("…" if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _default(parameter: Any, *, flag: bool) -> str:
    if parameter.required:
        return "required"
    default = parameter.default() if callable(parameter.default) else parameter.default
    if flag:
        return "on" if default else ""
    if default is None or default in ((), [], ""):
        return ""
    return code(", ".join(map(str, default)) if isinstance(default, list | tuple) else str(default))


def type_words(annotation: Any) -> str:
    """A type of Python in a word for the reader of a command line."""
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) in (list, tuple):
        return f"{type_words(inner[0])}, repeatable"
    if inner:
        return " or ".join(dict.fromkeys(type_words(part) for part in inner))
    name = re.sub(r"^_+", "", getattr(annotation, "__name__", str(annotation)))
    return {"str": "text", "int": "integer", "float": "number", "Path": "path", "bool": "yes or no"}.get(name, name)
