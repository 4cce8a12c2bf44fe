"""Reading, checking and writing config files, and the messages on what is wrong in one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from distill.config.folder import CONFIGS
from distill.config.overrides import MAX_SHOWN, apply_override, numbers_not_finite, sets_key
from distill.config.runs import STAGES, Run, RunConfig, other_stage, run_model, stage_of
from encoders.errors import InputError, did_you_mean
from encoders.untrusted import read_yaml

MAX_ERRORS = 5  # most errors listed in one message
Config = TypeVar("Config", bound=BaseModel)


def read_run(path: str | Path, *, overrides: Sequence[str] = ()) -> Run:
    """Read the config of a training run, of either stage; see `read_config`.

    An override of `name` moves the output folder with it: to the folder of that name beside the one in the file, unless
    `out` is overridden too. Sections of another stage are ignored if they are empty or hold its defaults, since the
    config.yaml that earlier versions wrote into a run folder lists them.

    Raises:
        InputError: as `read_config`; or a section belongs to another stage.
    """
    file = find_config(path)
    content = _content(file, overrides)
    if sets_key(overrides, "name") and not sets_key(overrides, "out") and content.get("out"):
        content["out"] = str(Path(str(content["out"])).parent / str(content["name"]))
    try:
        model = run_model(content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return _checked({k: v for k, v in content.items() if not _is_idle(k, v, model=model)}, model, file=file)


def read_config(path: str | Path, model: type[Config], *, overrides: Sequence[str] = ()) -> Config:
    """Read a config file, apply `key.sub=value` overrides (values in YAML), and check it.

    Raises:
        InputError: no such file, no mapping, an unknown key (near misses are named), a value of the wrong type, or a number
            that is not finite.
    """
    file = find_config(path)
    return _checked(_content(file, overrides), model, file=file)


def write_config(config: BaseModel, path: Path) -> None:
    """Write the resolved config as YAML."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def find_config(path: str | Path) -> Path:
    """Resolve an existing path or the name of a shipped config, with or without .yaml."""
    shipped = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob("**/*.yaml"))
    for candidate in (Path(path), CONFIGS / path, CONFIGS / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    hint = did_you_mean(str(path), shipped)
    raise InputError(f"config {path} does not exist{hint} (shipped: {', '.join(shipped)})")


def _content(file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise InputError(f"{file} holds {type(content).__name__}; expected a mapping of settings")
    for override in overrides:
        apply_override(content, override)
    for key in numbers_not_finite(content):
        raise InputError(f"{file}: {key}: expected a finite number, neither .nan nor .inf")
    return content


def _checked(content: dict[str, Any], model: type[Config], *, file: Path) -> Config:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        listed = [_explain(dict(e), model) for e in error.errors()]
        more = f"; and {len(listed) - MAX_ERRORS} more" if len(listed) > MAX_ERRORS else ""
        raise InputError(f"{file}: {'; '.join(listed[:MAX_ERRORS])}{more}") from error


def _is_idle(key: str, value: Any, *, model: type[RunConfig]) -> bool:
    """Return whether a setting belongs to another stage and is empty or at that stage's default."""
    stage = other_stage(key, model=model)
    if stage is None or value is None:
        return stage is not None
    field = STAGES[stage].model_fields[key]
    default = {} if field.is_required() else field.default.model_dump(mode="json")
    return isinstance(value, dict) and default | value == default


def _explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if not error["loc"]:
        return f"config: {error['msg']}"
    *parents, name = error["loc"]
    if error["type"] == "missing" and not parents and name not in RunConfig.model_fields and issubclass(model, RunConfig):
        return f"stage {stage_of(model)} needs the section {name}"
    if error["type"] != "extra_forbidden":
        given = "" if isinstance(error["input"], dict) else f" (given: {_shown(error['input'])})"
        return f"{path}: {error['msg']}{given}"
    if not parents and issubclass(model, RunConfig) and (other := other_stage(str(name), model=model)):
        return f"unknown key {path}: it belongs to stage {other}, and this run is of stage {stage_of(model)}"
    allowed = _fields(model, parents)
    hint = did_you_mean(str(name), allowed) or f"; allowed: {', '.join(allowed)}"
    return f"unknown key {path}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _fields(model: type[BaseModel], parents: Sequence[Any]) -> list[str]:
    """Return the keys of the section at `parents`; empty if it is inside a union type."""
    section: Any = model
    for name in parents:
        field = section.model_fields.get(name) if hasattr(section, "model_fields") else None
        if field is None:
            return []
        options = [field.annotation, *get_args(field.annotation)]
        section = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return list(section.model_fields) if section is not None else []
