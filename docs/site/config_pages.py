"""The reference of configs: every key, from the models that check a config, and the shipped files."""

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

from markdown_text import code, escaped, table
from pydantic import BaseModel

from distill.config.folder import CONFIGS
from distill.config.runs import EmbeddingRun, MaskRun, PrecomputeConfig, PromptRun, RunConfig

KINDS: dict[str, type[BaseModel]] = {
    "`distill`": RunConfig,
    "`distill` with `stage: embedding`": EmbeddingRun,
    "`distill` with `stage: mask`": MaskRun,
    "`distill` with `stage: prompt`": PromptRun,
    "`precompute`": PrecomputeConfig,
}
WORDS = {"string": "text", "boolean": "true or false", "null": "nothing", "object": "mapping"}
LARGEST_BOUND = 2**53  # as large a bound only says what a number can hold
INTRODUCTION = """# Configs

A run is one YAML file. `--config` takes its path or the name of a shipped one; `--set key.sub=value` changes a key, with the
value in YAML. Unknown keys, NaN and infinity are errors; a key without a default must be given.
"""


def configs_page() -> str:
    """The keys of each kind of config, then the shipped configs."""
    sections = [f"## Keys of {name}\n\n{_section(kind, '')}" for name, kind in KINDS.items()]
    files = {path.stem: path.read_text(encoding="utf-8") for path in sorted(CONFIGS.glob("*.yaml"))}
    shipped = [f"### {name}\n\n```yaml\n{text}```\n" for name, text in files.items()]
    return "\n".join([INTRODUCTION, *sections, "## Shipped configs\n", *shipped])


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a model, with those of its sections, as `--set` names them."""
    for name, field in model.model_fields.items():
        below = _models(field.annotation)
        if not below:
            yield prefix + name
        for section in below:
            yield from keys(section, f"{prefix}{name}.")


def _section(model: type[BaseModel], prefix: str) -> str:
    """A table of the model's own values, and below it one for each section."""
    schema, notes = model.model_json_schema(), _comments(model)
    rows, sections = [], []
    for name, field in model.model_fields.items():
        if issubclass(model, RunConfig) and model is not RunConfig and name in RunConfig.model_fields:
            continue  # listed once, for all stages
        below = _models(field.annotation)
        for section in below:
            title = f"{prefix}{name}" + (f" ({_kind(section)})" if len(below) > 1 else "")
            entry = "An entry of this list. " if len(below) > 1 else ""
            optional = "" if field.is_required() else " May be left out."
            sections.append(f"### {code(title)}\n\n{entry}{_meaning(section)}{optional}\n")
            sections.append(_section(section, f"{prefix}{name}."))
        if not below:
            given = schema["properties"][name]
            default = "required" if field.is_required() else code(json.dumps(field.get_default(), default=str))
            meaning = field.description or notes.get(name, "")
            rows.append((code(prefix + name), type_words(given), default, escaped(meaning)))
    columns = 4 if any(row[-1] for row in rows) else 3  # without the meanings where no key has one
    own = table(("key", "value", "default", "meaning")[:columns], [row[:columns] for row in rows]) + "\n" if rows else ""
    head = "" if prefix else f"{_meaning(model)}\n\n"
    return head + own + "\n" + "\n".join(sections)


def _meaning(model: type[BaseModel]) -> str:
    return escaped(inspect.cleandoc(model.__doc__ or ""))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that an annotation names: one, several of a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _kind(model: type[BaseModel]) -> str:
    """What tells a section of a union from the others: `kind: coco`."""
    return f"kind: {get_args(model.model_fields['kind'].annotation)[0]}"


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Key -> the comment at the end of its line."""
    source = inspect.getsource(model)
    lines, fields = source.splitlines(), ast.parse(source).body[0].body  # type: ignore[attr-defined]
    found = {}
    for field in fields:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            rest = lines[(field.end_lineno or 1) - 1].encode()[field.end_col_offset :].decode()
            found[field.target.id] = rest.strip().removeprefix("#").strip()
    return found


def type_words(schema: dict[str, Any]) -> str:
    """A value of a JSON schema in words: 'integer, at least 1'."""
    if "anyOf" in schema:
        return "; or ".join(type_words(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(code(str(value)) for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return "list: " + "; ".join(type_words(item) for item in schema["prefixItems"])
    kind = WORDS.get(schema["type"], schema["type"])
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    said = [f"{words} {schema[key]:g}" for key, words in bounds.items() if schema.get(key, LARGEST_BOUND) < LARGEST_BOUND]
    return ", ".join([kind, *said])
