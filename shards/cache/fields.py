"""Validated field types for `cache.json` and manifest lines. These files may be untrusted, so every field is checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, Strict, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from encoders.contract import check_image_size
from encoders.errors import InputError
from encoders.messages.shown import shown
from encoders.untrusted import json_kind
from shards.cache.key_list import KeyList
from shards.cache.names import shard_index

MAX_COUNT = 10**9  # upper bound on shards per cache and photos per shard; larger than any data set
MAX_SHARD_BYTES = 2**45  # for comparison, all of SA-1B in fp16 takes 2^44 bytes
MAX_IMAGE_SIZE = 2**14  # pixels
MAX_NAME = 4096  # characters of a teacher's or source's name, which may be a path
MAX_KEY = 255  # characters; keys made here have 80
MAX_TEXT = 2**16  # characters of the reason why a photo is left out
MAX_SHOWN = 60  # characters of a wrong value in a message

Model = TypeVar("Model")


def _check_name(name: str) -> str:
    shard_index(name)
    return name


def _check_key(key: str) -> str:
    if not key.isprintable() or "/" in key:
        raise ValueError("expected a key without slashes and control characters")
    return key


def _check_keys(keys: Sequence[str]) -> Sequence[str]:
    if len(set(keys)) != len(keys):
        [(twice, _)] = Counter(keys).most_common(1)
        raise ValueError(f"key {twice!r} comes twice in one shard")
    return keys


def _pack(value: Any, check: ValidatorFunctionWrapHandler) -> KeyList:
    """Return checked keys in little memory: good ones are checked all at once, others by `check`, which says what is wrong."""
    return KeyList(value if are_keys(value) else check(value))


def are_keys(value: Any) -> bool:
    """Return whether each of these keys is a `Key`, none comes twice, and there are not too many."""
    if type(value) is not list or not value or len(value) > MAX_COUNT or set(map(type, value)) != {str}:
        return False
    lengths, text = set(map(len, value)), "".join(value)
    printable = text.isprintable() and "/" not in text
    return printable and min(lengths) >= 1 and max(lengths) <= MAX_KEY and len(set(value)) == len(value)


def _check_bad(photo: dict[str, str]) -> dict[str, str]:
    if set(photo) != {"key", "where", "reason"}:
        raise ValueError("expected key, where and reason of a photo that was left out")
    return photo


Count = Annotated[int, Strict(), Field(ge=1, le=MAX_COUNT)]
Version = Annotated[int, Strict(), Field(ge=1, le=MAX_COUNT)]
ShardBytes = Annotated[int, Strict(), Field(ge=1, le=MAX_SHARD_BYTES)]
ImageSize = Annotated[int, Strict(), Field(ge=1, le=MAX_IMAGE_SIZE), AfterValidator(check_image_size)]
Sha256 = Annotated[str, Strict(), Field(pattern="^[0-9a-f]{64}$", max_length=64)]
Name = Annotated[str, Strict(), Field(min_length=1, max_length=MAX_NAME)]
ShardName = Annotated[str, Strict(), AfterValidator(_check_name)]
Key = Annotated[str, Strict(), Field(min_length=1, max_length=MAX_KEY), AfterValidator(_check_key)]
Keys = Annotated[Sequence[Key], Field(max_length=MAX_COUNT), AfterValidator(_check_keys), WrapValidator(_pack)]
Text = Annotated[str, Strict(), Field(max_length=MAX_TEXT)]
BadPhoto = Annotated[dict[str, Text], AfterValidator(_check_bad)]


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}  # made at the first use, which takes milliseconds


def checked(kind: type[Model], value: Any) -> Model:
    """Build a dataclass instance from parsed JSON, validating each field by its annotated type.

    Raises:
        InputError: the value is not a JSON object, or a field is missing, unknown or invalid; names the field.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise InputError(f"it is {json_kind(value)}; expected a JSON object")
    if set(value) != names:
        raise InputError(f"missing {sorted(names - set(value))}, unknown {_few(set(value) - names)}")
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    try:
        found: Model = _ADAPTERS[kind].validate_python(value)
    except ValidationError as error:
        raise InputError(explain(error)) from error
    return found


def explain(error: ValidationError) -> str:
    """Return the first validation error as one line: the field, the expected value and the value given."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    value = first["input"]
    plain = isinstance(value, str | int | float | None)
    given = shown(repr(value)[:MAX_SHOWN]) if plain else json_kind(value)
    return f"{where}: {shown(first['msg'].removeprefix('Value error, '))} (given: {given})"


def _few(names: set[Any]) -> list[str]:
    return [shown(str(name)[:MAX_SHOWN]) for name in sorted(names)[:5]]
