"""Several models through the same prompts: each photo is read once, each model's masks are kept for comparison."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from encoders.errors import InputError, did_you_mean
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.opening import EvalDataset
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.progress import Progress, chosen_progress
from eval_zeroshot.results.observations import Observation, ObservationStore, dataset_sha256
from eval_zeroshot.results.result import Result, Role
from eval_zeroshot.suites.base import Suite, check_suites
from eval_zeroshot.suites.observing import Stores, observe_all
from eval_zeroshot.summaries import summarise_all


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What results say of a model besides its name.

    Attributes:
        role: decides where the table puts it.
        arch: registry name of its architecture.
        sha256: of the file that holds its weights.
    """

    role: Role = "student"
    arch: str | None = None
    sha256: str | None = None


def evaluate(
    predictors: Mapping[str, PredictorLike],
    *,
    suites: Sequence[Suite],
    samples: Iterable[Sample],
    reference: str | None = None,
    against: str | None = None,
    dataset: str | None = None,
    facts: Mapping[str, ModelFacts] | None = None,
    state: Path | str | None = None,
    progress: Progress | bool | None = None,
) -> list[Result]:
    """Run named predictors through suites in one pass over the samples.

    Args:
        predictors: name -> predictor.
        suites: see `SUITES`.
        samples: iterable of samples with unique keys; an `open_dataset` brings its name along.
        reference: name of the predictor whose masks the others are compared with; its role is "teacher" unless said.
        against: name of the predictor that the others' differences are taken against, paired photo by photo.
        dataset: name in results; the samples' own when None.
        facts: what results say of a model; a predictor's own `role` counts where there is none.
        state: folder for what was seen so far. The same call continues there: a photo that a model has answered is not
            asked again, the reference's masks included. Other weights or another image size start afresh beside it. A folder
            that is not there is made, and stays once something was seen.
        progress: called after each photo; True prints how many are done to stderr, every few seconds.

    Returns:
        One result for each suite and model, in this order, with intervals where the suite can be resampled.

    Raises:
        InputError: an unknown reference or baseline, suites that `check_suites` refuses, two samples of one key, a state of
            other photos or annotations or one that cannot be read or written, or an answer that holds no finite numbers.
    """
    for what, wanted in (("reference", reference), ("model to compare against", against)):
        if wanted is not None and wanted not in predictors:
            among = f"the {what} {wanted!r} is not among the models {', '.join(predictors)}"
            raise InputError(among + did_you_mean(wanted, predictors))
    name = dataset or str(getattr(samples, "name", "samples"))
    known = {model: _facts(model, predictor, facts, reference) for model, predictor in predictors.items()}
    total = len(samples) if isinstance(samples, Sized) else None
    show = chosen_progress(progress)
    with _opened(state, predictors=predictors, suites=suites, known=known, dataset=name) as stores:
        digests = observe_all(predictors, suites, samples, stores, progress=show, total=total, dataset=name)
    shown = dataset_sha256(digests.values())

    def seen_by(suite: Suite, model: str) -> list[Observation]:
        found = stores[suite.name, model].found
        return [found[key] for key in digests]

    results = []
    for suite in suites:
        seen = {model: seen_by(suite, model) for model in predictors}
        for result in summarise_all(suite, seen, dataset=name, reference=reference, against=against):
            fact = known[result.model]
            about = {"role": fact.role, "arch": fact.arch, "model_sha256": fact.sha256, "dataset_sha256": shown}
            predictor = predictors[result.model]
            how = {"image_size": _image_size(predictor), "padding": False if _unpadded(predictor) else None}
            results.append(result.model_copy(update=about | how))
    return results


def observe_share(
    predictors: Mapping[str, PredictorLike],
    *,
    suites: Sequence[Suite],
    samples: EvalDataset,
    rank: int,
    world_size: int,
    state: Path | str,
    facts: Mapping[str, ModelFacts] | None = None,
    reference: str | None = None,
    progress: Progress | bool | None = None,
) -> None:
    """One process's part of what `evaluate` asks, kept in `state`; `evaluate` then sums up, and asks what is still missing.

    Every `world_size`-th photo, or video, is this process's. The number of processes may differ from call to call.

    Args:
        rank: of this process, from 0.
        world_size: processes that share the photos.
        predictors, suites, samples, state, facts, reference, progress: as in `evaluate`.
    """
    known = {model: _facts(model, predictor, facts, reference) for model, predictor in predictors.items()}
    part = f"rank-{rank}-of-{world_size}"
    numbers = [number for block in samples.blocks()[rank::world_size] for number in block]
    mine = (samples[number] for number in numbers)
    show = chosen_progress(progress)
    with _opened(state, predictors=predictors, suites=suites, known=known, dataset=samples.name, part=part) as stores:
        observe_all(predictors, suites, mine, stores, progress=show, total=len(numbers))


@contextmanager
def observing(
    predictors: Mapping[str, PredictorLike],
    *,
    suites: Sequence[Suite],
    samples: EvalDataset,
    part: str,
    state: Path | str,
    facts: Mapping[str, ModelFacts] | None = None,
    reference: str | None = None,
) -> Iterator[Callable[[range, Progress | None], None]]:
    """Like `observe_share`, block by block: yields a function that asks about a block of `samples.blocks()`.

    Its second argument is called after each photo of the block.

    Args:
        part: name of this process's own files, which no other process writes at the same time.
    """
    known = {model: _facts(model, predictor, facts, reference) for model, predictor in predictors.items()}
    with _opened(state, predictors=predictors, suites=suites, known=known, dataset=samples.name, part=part) as stores:

        def ask(block: range, progress: Progress | None = None) -> None:
            observe_all(predictors, suites, (samples[number] for number in block), stores, progress=progress)

        yield ask


def _facts(
    model: str, predictor: PredictorLike, facts: Mapping[str, ModelFacts] | None, reference: str | None
) -> ModelFacts:
    if facts is not None and model in facts:
        return facts[model]
    sam = getattr(predictor, "sam", None)
    role: Role = "teacher" if model == reference else getattr(predictor, "role", "student")
    return ModelFacts(role=role, arch=getattr(sam, "arch", None))


def _image_size(predictor: PredictorLike) -> int | None:
    size = getattr(predictor, "image_size", None)
    return None if size is None else int(size)


def _unpadded(predictor: PredictorLike) -> bool:
    """Whether it encodes photos in their own aspect."""
    return getattr(predictor, "padding", True) is False


@contextmanager
def _opened(
    state: Path | str | None,
    *,
    predictors: Mapping[str, PredictorLike],
    suites: Sequence[Suite],
    known: Mapping[str, ModelFacts],
    dataset: str,
    part: str | None = None,
) -> Iterator[Stores]:
    """The stores, closed after the block; the file's name holds a digest of all that makes observations comparable."""
    stores: dict[tuple[str, str], ObservationStore] = {}
    check_suites(suites)
    new = state is not None and not Path(state).exists()
    try:
        for model, predictor in predictors.items():
            weights = None if state is None else known[model].sha256 or fingerprint(predictor)
            for suite in suites:
                identity = {
                    "dataset": dataset,
                    "suite": suite.name,
                    "version": suite.version,
                    "protocol": suite.protocol,
                    "seed": getattr(suite, "seed", 0),
                    "model": model,
                    "weights": weights,
                    "image_size": _image_size(predictor),
                    **({"padding": False} if _unpadded(predictor) else {}),  # so that observations of earlier versions serve
                }
                digest = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:12]
                parts = (re.sub(r"[^\w\-]+", "_", part) for part in (dataset, suite.name, model))
                path = None if state is None else Path(state) / f"{'.'.join(parts)}.{digest}.jsonl"
                stores[suite.name, model] = ObservationStore(path, identity=identity, part=part)
        yield stores
    finally:
        for store in stores.values():
            store.close()
        if new and state is not None:
            with suppress(OSError):  # something was seen
                Path(state).rmdir()


def fingerprint(predictor: PredictorLike) -> str:
    """What tells a predictor's answers from another's: its `identity`, else a sha256 over its model's tensors.

    Raises:
        InputError: it has neither an `identity` nor a `sam`.
    """
    identity = getattr(predictor, "identity", None)
    if identity is not None:
        return str(identity)
    sam = getattr(predictor, "sam", None)
    if sam is None:
        raise InputError(f"to resume, {type(predictor).__name__} needs an `identity` or a sha256 in its ModelFacts")
    digest = hashlib.sha256()
    for name, tensor in sorted(sam.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
