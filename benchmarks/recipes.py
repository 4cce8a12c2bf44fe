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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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

BATCH = 4  # windows; whole photos come in batches of as many pixels
LEAST_STEPS = 8
TEACHER = "teacher"
SECONDS, SETTINGS, RECIPE = "seconds.json", "settings.json", "recipe"
MAX_BYTES = 2**16  # of each of these files
SAME = ("data", "val", "teacher", "arch", "image_size", "measured_size", "views", "steps")
PRIMARY = {"box": "single", "point": "click_1"}
RATES = {"repvit": 0.006, "tiny_vit": 0.003}
OTHER_RATE = 0.003
# The second stage goes on at the rate at which the first one ends, so that both together follow about one cosine;
# docs/log.md has what else was tried.
REST = 0.15
SECOND: dict[str, Any] = {
    "stage": "prompt",
    "prompts": {"per_photo": 6, "min_pixels": 16, "min_score": 0.3},
    "loss": {"mse": 4.0},
    "mask_loss": {"targets": "hard", "bce": 3.0, "dice": 2.0},
}
SPREAD = (0.7, 1.3)  # of windows, about the scale at which objects are as large as where students are measured


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of training.

    Attributes:
        arch: of the student; None is the one given by --arch.
        views: whether a photo is seen in several windows, not as one whole photo of the size that is measured.
        first, second: shares of --steps that the embedding stage and the prompt stage take.
    """

    arch: str | None = None
    views: bool = True
    first: float = 1.0
    second: float = 0.0


WAYS = {
    "stage 1": Way(),
    "stage 1, one view": Way(views=False),
    "stages 1 and 2": Way(first=0.75, second=0.25),
    "stages 1 and 2, half the samples": Way(first=0.375, second=0.125),
    "TinyViT, stage 1": Way(arch="tiny_vit"),
}


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
    if options.steps < LEAST_STEPS:
        parser.error(f"--steps {options.steps}: expected at least {LEAST_STEPS}, as a stage may take an eighth of them")
    if options.measured_size < options.image_size:
        parser.error(
            f"--measured-size {options.measured_size} is below --image-size {options.image_size}; give at least as much, as "
            "windows show photos enlarged"
        )
    try:
        problem = other_settings(options)
    except InputError as error:
        problem = f"{error}; give another --out"
    if problem is not None:
        parser.error(problem)
    caches = {several: make_cache(options, several=several) for several in sorted({WAYS[name].views for name in options.way})}
    for seed in options.seed:
        for name in options.way:
            train(WAYS[name], name, seed=seed, cache=caches[WAYS[name].views], options=options)
    for seed in options.seed:
        evaluate(seed, options=options)
    report = tabulate(options)
    print(json.dumps(report) if options.json else table_text(report))


def other_settings(options: argparse.Namespace) -> str | None:
    """Return what differs from the settings that the folder was begun with, None if nothing does.

    Raises:
        InputError: the file with them is damaged.
    """
    file, given = options.out / SETTINGS, {name: getattr(options, name) for name in SAME}
    recipe = {"batch": BATCH, "rates": RATES, "other_rate": OTHER_RATE, "rest": REST, "second": SECOND, "spread": list(SPREAD)}
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part:
            part.write_text(json.dumps(given | {RECIPE: recipe}))
        return None
    begun = read_json(file, max_bytes=MAX_BYTES)
    if not isinstance(begun, dict) or begun.get(RECIPE) != recipe:
        return f"{options.out} was begun by another version of this benchmark, with other rates or batches; give another --out"
    changed = [f"--{name.replace('_', '-')} {begun[name]}" for name in SAME if begun[name] != given[name]]
    return f"{options.out} was begun with {' '.join(changed)}; give it again, or another --out" if changed else None


def size_of(way: Way, options: argparse.Namespace) -> int:
    """Return the image size that a way trains at."""
    size: int = options.image_size if way.views else options.measured_size
    return size


def work_of(way: Way, *, steps: int, window: int, measured: int) -> tuple[int, int]:
    """Return the number of photos in a step and of steps, so that all ways see equally many pixels."""
    if way.views:
        return BATCH, steps
    photos = BATCH * (window / measured) ** 2  # in a step, of as many pixels as the windows
    batch = max(1, round(photos))
    return batch, round(steps * photos / batch)


def train(way: Way, name: str, *, seed: int, cache: Path, options: argparse.Namespace) -> None:
    """Train one student, unless it is finished, and add up the seconds that it took."""
    folder = run_folder(name, seed=seed, out=options.out)
    batch, steps = work_of(way, steps=options.steps, window=options.image_size, measured=options.measured_size)
    first, second = round(way.first * steps), round(way.second * steps)
    base = folder.parent / f"{folder.name}_stage_1" if second else folder
    given = settings(way, options, out=base, cache=cache, seed=seed, batch=batch, steps=first)
    if second:
        given["schedule"]["min_lr_ratio"] = REST
    distil(base, given)
    if second:
        given = settings(way, options, out=folder, cache=cache, seed=seed, batch=batch, steps=second) | SECOND
        given["model"]["init"] = str(base)
        given["optim"]["lr"] *= REST
        distil(folder, given)


def settings(
    way: Way, options: argparse.Namespace, *, out: Path, cache: Path, seed: int, batch: int, steps: int
) -> dict[str, Any]:
    """Return the config of a run of the embedding stage."""
    arch = way.arch or options.arch
    rate = next((rate for family, rate in RATES.items() if arch.startswith(family)), OTHER_RATE)
    return {
        "name": out.name,
        "out": str(out),
        "seed": seed,
        "model": {"arch": arch, "image_size": size_of(way, options)},
        "teacher": {"model": options.teacher, "image_size": size_of(way, options)},
        "data": {"cache": str(cache), "num_workers": 0},
        "optim": {"lr": rate, "weight_decay": 0.05, "betas": [0.9, 0.98]},
        "schedule": {"steps": steps, "warmup_steps": max(1, min(50, steps // 8)), "min_lr_ratio": 0.01},
        "global_batch": batch,
        "ema": {"decay": 0.99},
        "checkpoint": {"every_steps": 100, "keep": 1},
    }


def distil(folder: Path, config: Mapping[str, Any]) -> None:
    """Run `repvit-sam distill`, which also finds that a run is finished; add its seconds to those in the run folder."""
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
    out = str(options.out / f"results_{seed}.jsonl")
    run_command("eval", "-m", f"{TEACHER}={options.teacher}", *named, *given, "--out", out, quiet=True)


def run_folder(name: str, *, seed: int, out: Path) -> Path:
    """Return the folder of a way's run: `stages_1_and_2_seed_0`."""
    words = name.lower().replace(",", "").replace(" ", "_")
    return out / "runs" / f"{words}_seed_{seed}"


def tabulate(options: argparse.Namespace) -> dict[str, Any]:
    """Return each way's numbers, by suite: mean, interval, the means of the seeds, and the difference from --against."""
    report: dict[str, Any] = {"steps": options.steps, "seeds": options.seed, "against": options.against, "ways": {}}
    report["measured_size"] = options.measured_size
    values = {suite: values_of(options, suite) for suite in PRIMARY}
    report["photos"], report["objects"] = next(iter(values.values()))[TEACHER]["iou"].size
    for name in (TEACHER, *options.way):
        row: dict[str, Any] = {}
        if name != TEACHER:
            spent = [seconds_of(name, seed=seed, out=options.out) for seed in options.seed]
            samples = samples_of(WAYS[name], steps=options.steps, window=options.image_size, measured=options.measured_size)
            size = size_of(WAYS[name], options)
            row |= {"samples": samples, "image_size": size, "minutes": statistics.median(spent) / 60}
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
    stored = [observations(options.out / f"results_{seed}.jsonl", suite) for seed in options.seed]
    found: dict[str, dict[str, Values]] = {}
    for key, (way, models) in enumerate(names.items()):
        seen = [its[model] for its, model in zip(stored, models, strict=True)]
        found[way] = {"iou": Values([[photo.values[PRIMARY[suite]] for photo in photos] for photos in seen], key=key)}
        if way != TEACHER:
            same = [agreement(photos, its[TEACHER]) for photos, its in zip(seen, stored, strict=True)]
            found[way]["agreement"] = Values(same, key=key)
    return found


def observations(results: Path, suite: str) -> dict[str, list[Observation]]:
    """Return what each model of an evaluation saw in one suite, sorted by photo."""
    files, found = ObservedFiles([results.with_suffix(".state")]), {}
    for result in read_results(results):
        seen = files.of(result) if result.suite == suite else None
        if seen is not None:
            found[result.model] = sorted(seen.photos.values(), key=lambda photo: photo.key)
    return found


def seconds_of(name: str, *, seed: int, out: Path) -> float:
    """Return the seconds of training, over both stages."""
    folder = run_folder(name, seed=seed, out=out)
    return sum(seconds_in(part / SECONDS) for part in (folder, folder.parent / f"{folder.name}_stage_1"))


def seconds_in(file: Path) -> float:
    """Return the seconds stored in a run folder; 0 if there are none, NaN if the file is damaged: they are shown, no more."""
    try:
        return float(read_json(file, max_bytes=MAX_BYTES)) if file.is_file() else 0.0
    except (InputError, TypeError, ValueError):
        return math.nan


def samples_of(way: Way, *, steps: int, window: int, measured: int) -> int:
    """Return the number of samples that a way trains on."""
    batch, steps = work_of(way, steps=steps, window=window, measured=measured)
    return batch * (round(way.first * steps) + round(way.second * steps))


def table_text(report: Mapping[str, Any]) -> str:
    """Return the report as a Markdown table and a line on what was measured."""
    columns = [f"{suite} {measure}" for suite in PRIMARY for measure in ("iou", "agreement")]
    lines = ["| | samples | of px | minutes | " + " | ".join(columns) + " |", "| --- " * (4 + len(columns)) + "|"]
    for name, row in report["ways"].items():
        cells = [cell_text(row[column]) if column in row else "" for column in columns]
        trained = [row["samples"], row["image_size"], f"{row['minutes']:.0f}"] if "samples" in row else ["", "", ""]
        lines.append("| " + " | ".join(map(str, [name, *trained, *cells])) + " |")
    said = f"{report['objects']} objects on {report['photos']} photos of {report['measured_size']} px, {len(report['seeds'])} "
    said += "seeds. Mean, 95 % interval, ± standard deviation of the seeds' means; then the difference from "
    said += f"{report['against']!r}."
    return "\n".join([*lines, "", said])


if __name__ == "__main__":
    main()
