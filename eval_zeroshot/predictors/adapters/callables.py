"""A model of the user's own: MODULE:CALLABLE, where the callable takes nothing and gives an object like `SamPredictor`."""

import importlib
import inspect
import re
import sys
import traceback
import warnings
from typing import Any

from encoders.errors import InputError, InputWarning, did_you_mean
from eval_zeroshot.predictors.adapters.families import FAMILIES
from eval_zeroshot.predictors.adapters.sam_predictor import SamPredictorAdapter

FORM = "MODULE:CALLABLE"
_NAME = r"[^\W\d]\w*"
_FORM = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
METHODS = ("set_image", "predict")
PARAMETERS = ("point_coords", "point_labels", "box", "multimask_output")


def is_callable(text: str) -> bool:
    """Whether a model is named MODULE:CALLABLE; a family's name before the colon is no module."""
    found = _FORM.fullmatch(text)
    return found is not None and found[1] not in FAMILIES


def open_callable(text: str) -> SamPredictorAdapter:
    """Call a function, or class, of the user's and wrap what it returns.

    The working directory is on the path, as with `python -m`. What tells the model's answers from another's is `text` and,
    where the returned object has it, its `weights_sha256`; without, a note says that a changed model is not noticed.

    Raises:
        InputError: there is no such module or attribute, it cannot be called without arguments, it fails, or what it returns is
            not like `SamPredictor`; says which.
    """
    module_name, _, name = text.partition(":")
    made = _call(_attribute(_module(module_name, text=text), name, text=text), text=text)
    _check_like_sam_predictor(made, text=text)
    weights = getattr(made, "weights_sha256", None)
    if weights is None:
        message = (
            f"{text} has no attribute weights_sha256, so that answers kept beside --out still count after its weights have "
            "changed; give it one, or another --out"
        )
        warnings.warn(message, InputWarning, stacklevel=2)
    elif not (isinstance(weights, str) and _SHA256.fullmatch(weights)):
        raise InputError(f"{text}: weights_sha256 is {weights!r}; expected 64 hex digits in small letters")
    size = getattr(made, "image_size", None)
    if size is not None and (not isinstance(size, int) or size < 1):
        raise InputError(f"{text}: image_size is {size!r}; expected the pixels of the long side that it sees, or no attribute")
    return SamPredictorAdapter(made, identity=text if weights is None else f"{text}:{weights}", image_size=size)


def _module(name: str, *, text: str) -> Any:
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    importlib.invalidate_caches()  # the file may be newer than the last look at its folder
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"{text}: there is no module {error.name!r} in this folder or installed; expected {FORM}, run where the module "
                f"can be imported{did_you_mean(name, FAMILIES)}"
            ) from error
        raise InputError(f"{text}: {name} cannot be imported, it needs {error.name}; install that") from error
    except Exception as error:
        raise InputError(f"{text}: {name} cannot be imported: {_where(error)}") from error


def _attribute(module: Any, name: str, *, text: str) -> Any:
    try:
        found = getattr(module, name)
    except AttributeError as error:
        known = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise InputError(f"{text}: {module.__name__} has no {name!r}{did_you_mean(name, known)}") from error
    if not callable(found):
        raise InputError(
            f"{text}: {name} is {_a(found)}, which cannot be called; expected a function or class without arguments that gives "
            "the predictor"
        )
    return found


def _call(make: Any, *, text: str) -> Any:
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(make).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except ValueError:  # a built-in without a signature
        needed = []
    if needed:
        raise InputError(f"{text} needs arguments ({', '.join(needed)}), but gets none; wrap it in a function without any")
    try:
        return make()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{text} failed: {_where(error)}") from error


def _check_like_sam_predictor(made: Any, *, text: str) -> None:
    if missing := [name for name in METHODS if not callable(getattr(made, name, None))]:
        raise InputError(
            f"{text} returned {_a(made)} without {' and '.join(missing)}; expected an object like segment-anything's "
            f"SamPredictor: set_image(rgb), predict({', '.join(PARAMETERS)})"
        )
    accepted = inspect.signature(made.predict).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return
    wanted = [name for name in PARAMETERS if name != "multimask_output" or "num_multimask_outputs" not in accepted]
    if missing := [name for name in wanted if name not in accepted]:
        raise InputError(
            f"{text}: its predict takes {', '.join(accepted) or 'nothing'}, but not {', '.join(missing)}; expected "
            f"segment-anything's names: {', '.join(PARAMETERS)}"
        )


def _a(value: Any) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _where(error: Exception) -> str:
    """What went wrong and in which line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__}: {error}{place}"
