"""A block: subjects that are loaded together and called in turn, so that disturbances affect all of them alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from encoders.errors import InputError
from eval_zeroshot.latency import host
from eval_zeroshot.latency.figures import calls_of_round
from eval_zeroshot.latency.subjects.subject import Spec
from eval_zeroshot.latency.timing.process import Failed, Subject
from eval_zeroshot.latency.timing.worker import Memory, Start, Throughput, Timing

FEWEST_ROUNDS = 2  # even of a subject that has used up its seconds, so that there is an interval
SLOW_SHARE = 4  # a first call that takes 1/4 of a subject's seconds replaces its warm-up


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long to measure.

    Attributes:
        rounds: number of timed rounds; a short call is repeated within a round.
        warm_up: rounds before the timed ones, not counted; the very first call of a subject is not counted either.
        max_seconds: a subject whose calls have taken this long skips the remaining rounds, but has at least two. None is no
            limit.

    Raises:
        InputError: a value is out of range.
    """

    rounds: int = 10
    warm_up: int = 1
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"--rounds {self.rounds} measures nothing; give 1 or more")
        if self.warm_up < 0:
            raise InputError(f"--warm-up {self.warm_up}: expected 0 or more")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"--max-seconds {self.max_seconds}: expected more than 0, or leave it out")


@dataclass(kw_only=True)
class Measured:
    """What was measured of one subject."""

    spec: Spec
    start: Start
    load_average: float | None
    rounds: list[Timing] = field(default_factory=list)
    throughput: dict[int, Throughput] = field(default_factory=dict)
    memory: Memory | None = None
    complete: bool = False
    note: str | None = None

    @property
    def seconds(self) -> float:
        return sum(timing.seconds for timing in self.rounds)


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A subject that could not be timed."""

    spec: Spec
    reason: str
    not_here: bool


Finished = Measured | Stopped


class Block:
    """Starts subjects one after another, then calls them in turn.

    Args:
        specs: in the order of the first round; start: makes the process of a spec; say: receives lines of progress.
    """

    def __init__(
        self, specs: Sequence[Spec], *, pace: Pace, start: Callable[[Spec], Subject], say: Callable[[str], None]
    ) -> None:
        self._specs = list(specs)
        self._pace = pace
        self._start = start
        self._say = say
        self._subjects: dict[Spec, Subject] = {}
        self._measured: dict[Spec, Measured] = {}
        self._stopped: list[Stopped] = []

    def run(self) -> None:
        """Cold starts, warm-up, rounds."""
        for number, spec in enumerate(self._specs, start=1):
            self._say(f"starting {spec.title} ({number} of {len(self._specs)})")
            subject = self._subjects[spec] = self._start(spec)
            try:
                started = subject.start()
            except Failed as failed:
                self._stop(spec, failed)
                continue
            self._measured[spec] = Measured(spec=spec, start=started, load_average=host.load_average())
        for _ in range(self._pace.warm_up):
            for spec in list(self._measured):
                if not self._is_slow(spec):
                    self._call(spec, times=1)
        for number in range(self._pace.rounds):
            self._say(f"round {number + 1} of {self._pace.rounds}, {len(self._measured)} subjects")
            for spec in list(self._measured)[:: 1 if number % 2 == 0 else -1]:
                measured = self._measured[spec]
                if self._has_time(measured):
                    last = measured.rounds[-1].wall_ms[-1] if measured.rounds else measured.start.first_call_ms
                    timing = self._call(spec, times=calls_of_round(last))
                    if timing is not None:
                        measured.rounds.append(timing)
        for spec, measured in self._measured.items():
            measured.complete = True
            measured.memory = self._memory(spec)

    def measure_throughput(self, batches: Sequence[int], *, seconds: float) -> None:
        """Images per second by batch size, of subjects that take several images at once."""
        for spec, measured in list(self._measured.items()):
            for batch in dict.fromkeys(batches):
                self._say(f"throughput of {spec.title}, batch {batch}")
                try:
                    found = self._subjects[spec].throughput(batch, seconds)
                except Failed as failed:
                    measured.note = f"batch {batch}: {failed.reason}"
                    break
                if found is None:
                    measured.note = "no throughput, as it takes one image at a time"
                    break
                measured.throughput[batch] = found

    def finish(self) -> list[Finished]:
        """The results so far, in the order of the specs. Subjects without a round are left out, unless they failed."""
        for spec, measured in self._measured.items():
            if measured.memory is None:
                measured.memory = self._memory(spec)
        found: dict[Spec, Finished] = {stopped.spec: stopped for stopped in self._stopped}
        found |= {spec: measured for spec, measured in self._measured.items() if measured.rounds}
        return [found[spec] for spec in self._specs if spec in found]

    def close(self) -> None:
        """End all processes."""
        for subject in self._subjects.values():
            subject.close()

    def _memory(self, spec: Spec) -> Memory | None:
        try:
            return self._subjects[spec].memory()
        except Failed:
            return None

    def _call(self, spec: Spec, *, times: int) -> Timing | None:
        try:
            return self._subjects[spec].call(times)
        except Failed as failed:
            self._stop(spec, failed)
            self._measured.pop(spec)
            return None

    def _stop(self, spec: Spec, failed: Failed) -> None:
        self._say(f"{spec.title}: {failed.reason}")
        self._stopped.append(Stopped(spec=spec, reason=failed.reason, not_here=failed.not_here))
        self._subjects[spec].close()

    def _is_slow(self, spec: Spec) -> bool:
        limit = self._pace.max_seconds
        return limit is not None and self._measured[spec].start.first_call_ms / 1000 > limit / SLOW_SHARE

    def _has_time(self, measured: Measured) -> bool:
        limit = self._pace.max_seconds
        if limit is None or len(measured.rounds) < FEWEST_ROUNDS:
            return True
        return measured.seconds + measured.rounds[-1].seconds <= limit
