"""Selects the results and rows of a plot; where there are several kinds, the user has to choose."""

from collections.abc import Sequence
from typing import TypeVar

from encoders.errors import InputError, did_you_mean
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.results.result import Result

Item = TypeVar("Item", Result, LatencyRow)


def select_results(
    results: Sequence[Result],
    *,
    suite: str | None,
    version: str | None,
    protocol: str | None,
    dataset: str | None,
    padding: bool | None,
) -> list[Result]:
    """The results of one suite, version, protocol, data set and padding that have a value.

    Raises:
        InputError: a choice is missing or matches nothing, or there is no value.
    """
    if not results:
        raise InputError("the results files hold no result; give files that repvit-sam eval wrote")
    found = of_one(results, [result.suite for result in results], suite, option="--suite", what="suites")
    name = found[0].suite
    found = [result for result in found if result.value is not None]
    if not found:
        reason = "there was nothing to evaluate"
        raise InputError(f"no result of suite {name!r} has a value ({reason}); choose another --suite or results file")
    found = of_one(found, [result.dataset for result in found], dataset, option="--data", what="data sets")
    versions = [result.version for result in found]
    found = of_one(found, versions, version, option="--suite-version", what=f"versions of suite {name!r}")
    protocols = [result.protocol for result in found]
    found = of_one(found, protocols, protocol, option="--protocol", what=f"protocols of suite {name!r}")
    paddings = ["--padding" if result.padding is None else "--no-padding" for result in found]
    if padding is None and len(set(paddings)) > 1:
        raise InputError("there are results with and without padding; choose with --padding or --no-padding")
    wanted = paddings[0] if padding is None else "--padding" if padding else "--no-padding"
    if wanted not in paddings:
        raise InputError(f"{wanted}: all results are {'with' if paddings[0] == '--padding' else 'without'} padding")
    return [result for result, one in zip(found, paddings, strict=True) if one == wanted]


def select_rows(rows: Sequence[LatencyRow], *, part: str, runtimes: Sequence[str], padded: bool) -> list[LatencyRow]:
    """The timed rows of a part and of runtimes. Of encoders only those whose input is padded as the results' photos are.

    Raises:
        InputError: there are none.
    """
    found = [row for row in rows if row.part == part and row.p50_ms is not None]
    if not found:
        raise InputError(f"there is no latency of the part {part!r}; measure it, or choose another --part")
    for runtime in runtimes:
        of_one(found, [row.runtime for row in found], runtime, option="--runtime", what="runtimes")
    found = [row for row in found if not runtimes or row.runtime in runtimes]
    if part != "encoder":
        return found
    fitting = [row for row in found if padded == ("height" not in row.detail)]
    if not fitting:
        given, needed = ("with", "without") if padded else ("without", "with")
        raise InputError(f"the results are {given} padding, all encoder latencies {needed} it; give latencies {given} padding")
    return fitting


def of_one(items: Sequence[Item], names: Sequence[str], wanted: str | None, *, option: str, what: str) -> list[Item]:
    """The items with the wanted name, or all items if they have only one name.

    Args:
        names: one for each item.
        option, what: by which a user chooses, and what the names are, for the message.

    Raises:
        InputError: nothing has the wanted name, or there are several names and none is wanted.
    """
    known = list(dict.fromkeys(names))
    if wanted is not None and wanted not in known:
        raise InputError(f"{option} {wanted}: there are the {what} {', '.join(known)}{did_you_mean(wanted, known)}")
    if wanted is None and len(known) != 1:
        listed = ", ".join(name or "unknown" for name in known)
        raise InputError(f"there are {len(known)} {what} ({listed}); choose one with {option}")
    return [item for item, name in zip(items, names, strict=True) if wanted is None or name == wanted]


def of_size(items: Sequence[Item], image_size: int, *, what: str) -> list[Item]:
    """The results or rows of an image size, and those that do not say theirs.

    Raises:
        InputError: there are none.
    """
    found = [item for item in items if item.image_size in (None, image_size)]
    if not found:
        sizes = ", ".join(str(size) for size in sorted({item.image_size or 0 for item in items}))
        raise InputError(f"--image-size {image_size}: the {what} are of {sizes} px")
    return found
