"""Ways of training a student on equally many pixels, with several seeds: boxes and clicks, and agreement with the teacher.

Students learn from views of --image-size: each photo whole, and windows in which objects are about as large as in whole photos
of --measured-size, where students are measured. The way with one view learns from whole photos of that size.
For each way and seed a student is trained from scratch by `repvit-sam distill`, and `eval` asks all of them and the teacher
about the same photos. What is finished is not done again, so a stopped comparison goes on by the same command; several
processes may share the seeds: give each its own --seed, and at last all of them to one. Intervals are 95 %, by bootstrap over
photos and over seeds, and so are the differences from --against, whose photos are paired. Three seeds tell little of how
seeds vary: the means of each are in --json.

Run: python -m benchmarks.recipes --data COCO_JSON --val COCO_JSON --out FOLDER
     [--seed N ...] [--steps N] [--way NAME ...] [--against NAME] [--json]
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.recipe_ways import BATCH, RECIPE, SPREAD, WAYS, configs_of, run_folder, samples_of, size_of, work_of
from benchmarks.seed_statistics import Values, cell_text
from distill.jobs.own_commands import run_command
from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.locks import lock
from encoders.untrusted import read_json
from eval_zeroshot.report.observed import ObservedFiles
from eval_zeroshot.results.agreement import agreement
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import read_results

TEACHER = "teacher"
SECONDS, SETTINGS = "seconds.json", "settings.json"
MAX_BYTES = 2**16  # of each of these files
SAME = ("data", "val", "teacher", "arch", "image_size", "measured_size", "views", "steps")
PRIMARY = {"box": "single", "point": "click_1"}


def main() -> None:
    """Train what is missing, evaluate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a COCO-format json of the photos to train on")
    parser.add_argument("--val", required=True, help="a COCO-format json of the photos to measure on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", default="sam_demo")
    parser.add_argument("--arch", default="repvit_m0_6")
    parser.add_argument("--image-size", type=int, default=256, help="of the windows that students are trained on")
    parser.add_argument("--measured-size", type=int, default=640, help="of the photos that students are measured on")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1600, help=f"updates of {BATCH} windows")
    parser.add_argument("--seed", type=int, action="append", help="repeatable (default: 0, 1 and 2)")
    parser.add_argument("--way", action="append", choices=WAYS, help="repeatable (default: all)")
    parser.add_argument("--against", default="stage 1", choices=WAYS)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    options.seed, options.way = options.seed or [0, 1, 2], options.way or list(WAYS)
    if options.against not in options.way:
        parser.error(f"--against {options.against}: expected one of the ways that are compared: {', '.join(options.way)}")
    if (problem := unfit(options)) is not None:
        parser.error(problem)
    try:
        report = compare(options)
    except InputError as error:
        parser.error(str(error))
    print(json.dumps(report) if options.json else table_text(report))


def unfit(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the sizes and steps, None if nothing is."""
    window, measured = options.image_size, options.measured_size
    if window < 1:
        return f"--image-size {window}: expected pixels, for example 256"
    if measured < window:
        return f"--measured-size {measured} is below --image-size {window}; as windows show photos enlarged, give at least that"
    for name in options.way:
        _, first, second = work_of(WAYS[name], steps=options.steps, window=window, measured=measured)
        if first < 1 or (second < 1 and WAYS[name].second):
            return f"--steps {options.steps} leaves a stage of {name!r} without a step; give more"
    return None


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Train what is missing, evaluate, and return the report.

    Raises:
        InputError: the folder was begun with other settings, or a file in it is damaged.
    """
    check_settings(options)
    caches = {several: make_cache(options, several=several) for several in sorted({WAYS[name].views for name in options.way})}
    keep_settings(options)
    for seed in options.seed:
        for name in options.way:
            for config in configs_of(name, seed=seed, cache=caches[WAYS[name].views], options=options):
                distil(config)
    for seed in options.seed:
        evaluate(seed, options=options)
    return tabulate(options)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what must be the same whenever a comparison goes on."""
    return {name: getattr(options, name) for name in SAME} | {"recipe": RECIPE}


def check_settings(options: argparse.Namespace) -> None:
    """Refuse a folder that was begun with other settings. Raises InputError, also if the file with them is damaged."""
    file, given = options.out / SETTINGS, settings_of(options)
    if not file.is_file():
        return
    try:
        begun = read_json(file, max_bytes=MAX_BYTES)
    except InputError as error:
        raise InputError(f"{error}; give another --out") from error
    if not isinstance(begun, dict) or begun.keys() != given.keys() or begun["recipe"] != given["recipe"]:
        raise InputError(f"{options.out} was begun by a version of this benchmark with another recipe; give another --out")
    changed = [f"--{name.replace('_', '-')} {begun[name]}" for name in SAME if begun[name] != given[name]]
    if changed:
        raise InputError(f"{options.out} was begun with {' '.join(changed)}; give it again, or another --out")


def keep_settings(options: argparse.Namespace) -> None:
    """Write the settings into the folder, once its caches could be made with them."""
    with atomic_path(options.out / SETTINGS) as part:
        part.write_text(json.dumps(settings_of(options)))


def distil(config: Mapping[str, Any]) -> None:
    """Run `repvit-sam distill`, which also finds that a run is finished; add its seconds to those in the run folder."""
    folder = Path(config["out"])
    file = folder.parent / f"{folder.name}.yaml"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part:
        part.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    begin, finished = time.monotonic(), (folder / "run.json").is_file()
    try:
        run_command("distill", "--config", str(file), quiet=True)
    finally:
        if folder.is_dir() and not finished:
            spent = folder / SECONDS
            with atomic_path(spent) as part:
                part.write_text(json.dumps(seconds_in(spent) + time.monotonic() - begin))


def make_cache(options: argparse.Namespace, *, several: bool) -> Path:
    """Precompute the teacher's embeddings of all photos, or let it find that they are there; return the cache's folder."""
    cache = options.out / ("cache_windows" if several else "cache_whole")
    enlarged = options.measured_size / options.image_size
    least, most = (max(1.0, enlarged * factor) for factor in SPREAD)
    values = {
        "source.path": options.data,
        "source.views": options.views if several else 1,
        "source.view_recipe": f"{{kind: jitter, scale: [{least:g}, {most:g}]}}",
        "teacher.model": options.teacher,
        "teacher.image_size": options.image_size if several else options.measured_size,
        "out": cache,
    }
    pairs = (part for name, value in values.items() for part in ("--set", f"{name}={value}"))
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"{cache.name}.lock").open("a") as file:
        lock(file)  # another process of this comparison may be making it
        run_command("precompute", "--config", "quickstart_precompute", *pairs, quiet=True)
    return cache


def evaluate(seed: int, *, options: argparse.Namespace) -> None:
    """Ask the teacher and every student of a seed about the photos of --val."""
    models = {name: run_folder(name, seed=seed, out=options.out) for name in options.way}
    named = [part for name, folder in models.items() for part in ("-m", f"{folder.name}={folder}")]
    given = ["--data", options.val, "--image-size", str(options.measured_size), "--reference", TEACHER, "--clicks", "1"]
    given += [word for suite in PRIMARY for word in ("-s", suite)]
    given += ["--out", str(results_of(seed, options))]
    run_command("eval", "-m", f"{TEACHER}={options.teacher}", *named, *given, quiet=True)


def results_of(seed: int, options: argparse.Namespace) -> Path:
    """Return the file of results of a seed."""
    out: Path = options.out
    return out / f"results_{seed}.jsonl"


def tabulate(options: argparse.Namespace) -> dict[str, Any]:
    """Return each way's numbers, by suite: mean, interval, the means of the seeds, and the difference from --against."""
    report: dict[str, Any] = {"steps": options.steps, "seeds": options.seed, "against": options.against, "ways": {}}
    report["measured_size"] = options.measured_size
    values = {suite: values_of(options, suite) for suite in PRIMARY}
    report["photos"], report["objects"] = next(iter(values.values()))[TEACHER]["iou"].size
    for name in (TEACHER, *options.way):
        row: dict[str, Any] = {}
        if name != TEACHER:
            minutes = statistics.median(seconds_of(name, seed=seed, out=options.out) for seed in options.seed) / 60
            samples = samples_of(WAYS[name], steps=options.steps, window=options.image_size, measured=options.measured_size)
            size = size_of(WAYS[name], options)
            row |= {"samples": samples, "image_size": size, "minutes": None if math.isnan(minutes) else minutes}
        for suite, found in values.items():
            for measure, mine in found[name].items():
                row[f"{suite} {measure}"] = mine.facts()
                others = found.get(options.against, {}).get(measure)
                if others is not None and name != options.against:
                    row[f"{suite} {measure}"] |= mine.gap(others)
        report["ways"][name] = row
    return report


def values_of(options: argparse.Namespace, suite: str) -> dict[str, dict[str, Values]]:
    """Return the values of the teacher and each way: `iou` with the annotated masks, `agreement` with the teacher's."""
    names = {TEACHER: [TEACHER] * len(options.seed)}
    names |= {way: [run_folder(way, seed=seed, out=options.out).name for seed in options.seed] for way in options.way}
    stored = [observations(results_of(seed, options), suite) for seed in options.seed]
    found: dict[str, dict[str, Values]] = {}
    for key, (way, models) in enumerate(names.items()):
        for seed, its, model in zip(options.seed, stored, models, strict=True):
            if model not in its:
                raise InputError(f"{results_of(seed, options)} lacks what {model} saw; delete it and its .state, and run again")
        seen = [its[model] for its, model in zip(stored, models, strict=True)]
        found[way] = {"iou": Values([ious(photos, suite) for photos in seen], key=key)}
        if way != TEACHER:
            same = [agreement(photos, its[TEACHER]) for photos, its in zip(seen, stored, strict=True)]
            found[way]["agreement"] = Values(same, key=key)
    return found


def observations(results: Path, suite: str) -> dict[str, list[Observation]]:
    """Return what each model of an evaluation saw in one suite, sorted by photo.

    Raises:
        InputError: the results are damaged.
    """
    files, found = ObservedFiles([results.with_suffix(".state")]), {}
    for result in read_results(results):
        seen = files.of(result) if result.suite == suite else None
        if seen is not None:
            found[result.model] = sorted(seen.photos.values(), key=lambda photo: photo.key)
    return found


def ious(photos: Sequence[Observation], suite: str) -> list[list[float]]:
    """Return the IoUs of each photo's objects; a photo may have none."""
    return [photo.values[PRIMARY[suite]] if photo.ids else [] for photo in photos]


def seconds_of(name: str, *, seed: int, out: Path) -> float:
    """Return the seconds of training, over both stages; NaN if they are not known."""
    folder = run_folder(name, seed=seed, out=out)
    return sum(seconds_in(part / SECONDS) for part in (folder, folder.parent / f"{folder.name}_stage_1"))


def seconds_in(file: Path) -> float:
    """Return the seconds stored in a run folder; 0 if there are none, NaN if the file is damaged: no run is lost for that."""
    try:
        stored = read_json(file, max_bytes=MAX_BYTES) if file.is_file() else 0.0
    except InputError:
        return math.nan
    return float(stored) if type(stored) in (int, float) and stored >= 0 else math.nan


def table_text(report: Mapping[str, Any]) -> str:
    """Return the report as a Markdown table and a line on what was measured."""
    columns = [f"{suite} {measure}" for suite in PRIMARY for measure in ("iou", "agreement")]
    lines = ["| | samples | of px | minutes | " + " | ".join(columns) + " |", "| --- " * (4 + len(columns)) + "|"]
    for name, row in report["ways"].items():
        cells = [cell_text(row[column]) if column in row else "" for column in columns]
        minutes = "?" if row.get("minutes") is None else f"{row['minutes']:.0f}"
        trained = [row["samples"], row["image_size"], minutes] if "samples" in row else ["", "", ""]
        lines.append("| " + " | ".join(map(str, [name, *trained, *cells])) + " |")
    said = f"{report['objects']} objects on {report['photos']} photos of {report['measured_size']} px, {len(report['seeds'])} "
    said += "seeds. Mean, 95 % interval, ± standard deviation of the seeds' means; then the difference from "
    said += f"{report['against']!r}."
    return "\n".join([*lines, "", said])


if __name__ == "__main__":
    main()
