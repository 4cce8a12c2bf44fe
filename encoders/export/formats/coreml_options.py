"""Options for the number of prompts and points of a Core ML decoder: fixed, a list, or a range."""

import re
from dataclasses import dataclass

from encoders.errors import InputError
from encoders.export.formats.sam_contract import MAX_POINTS, MAX_PROMPTS

MAX_SHAPES = 128  # Core ML's limit for one list
FEWEST_POINTS = 2  # of a prompt: a box, or one point and its padding


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The permitted sizes of an axis.

    Attributes:
        values: permitted sizes, ascending; for a range, its two ends.
        ranged: whether every size from the first to the last value is permitted. With a range the model may not run on the
            Neural Engine; with a list it can (coremltools, FAQ).

    Raises:
        InputError: there is no value, a value is below 1, values are not ascending, or a range does not have two ends.
    """

    values: tuple[int, ...]
    ranged: bool = False

    def __post_init__(self) -> None:
        ascending = all(low < high for low, high in zip(self.values, self.values[1:], strict=False))
        if not self.values or min(self.values) < 1 or not ascending or (self.ranged and len(self.values) != 2):
            raise InputError(f"{self} cannot be numbers of prompts or points; expected 1, 1,2,4 or 1-16, ascending")

    def __str__(self) -> str:
        return ("-" if self.ranged else ",").join(str(value) for value in self.values)

    @property
    def fixed(self) -> bool:
        """Return whether there is only one permitted size."""
        return len(self.values) == 1

    def allows(self, count: int) -> bool:
        """Return whether an axis may have this size."""
        return self.values[0] <= count <= self.values[-1] if self.ranged else count in self.values

    def room_for(self, count: int) -> int:
        """Return the smallest permitted size of at least `count`, or else the largest."""
        if self.ranged:
            return min(max(count, self.values[0]), self.values[-1])
        return next((value for value in self.values if value >= count), self.values[-1])


def parse_counts(text: str) -> Counts:
    """Parse "1" (fixed), "1,2,4" (a list) or "1-16" (a range).

    Raises:
        InputError: it is none of them, or `Counts` refuses it.
    """
    if not re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6}|(,[0-9]{1,6})*)", text):
        raise InputError(f"{text!r} is not a valid count; expected e.g. 1, a list 1,2,4 or a range 1-16")
    ranged = "-" in text
    return Counts(values=tuple(int(part) for part in re.split("[-,]", text)), ranged=ranged)


ONE_PROMPT = Counts(values=(1,))
UP_TO_16_POINTS = Counts(values=tuple(range(1, 17)))


@dataclass(frozen=True, kw_only=True)
class CoreMlOptions:
    """Options of a Core ML export.

    Attributes:
        prompts: permitted P, the number of prompts per call, which are boxes or clicks of one image. An app that follows a
            finger decodes one prompt at a time.
        points: permitted N, the number of points per prompt, including the corners of boxes and the padding point.
        licence: licence of the weights, for the package; if None, the package refers to their source.

    Raises:
        InputError: one is a range and the other a list, which Core ML does not support; the lists give too many shapes;
            there are more prompts or points than SAM's decoder is exported for; or no number of points is enough for a
            prompt.
    """

    prompts: Counts = ONE_PROMPT
    points: Counts = UP_TO_16_POINTS
    licence: str | None = None

    def __post_init__(self) -> None:
        both = (self.prompts, self.points)
        for what, counts, most in (("prompts", self.prompts, MAX_PROMPTS), ("points", self.points, MAX_POINTS)):
            if counts.values[-1] > most:
                raise InputError(f"{counts} {what} in a call were asked for; expected at most {most}")
        if not self.certified_points:
            raise InputError(
                f"{self.points} points: the shortest prompt, a box or a point with its padding, takes {FEWEST_POINTS}; "
                f"expected {FEWEST_POINTS} or more among them"
            )
        if any(counts.ranged for counts in both) and any(not counts.ranged and not counts.fixed for counts in both):
            raise InputError(
                f"prompts {self.prompts} with points {self.points}: Core ML takes lists or ranges, not one of each; "
                "give two lists, two ranges, or fix one"
            )
        if not any(counts.ranged for counts in both) and len(self.shapes) > MAX_SHAPES:
            raise InputError(
                f"prompts {self.prompts} with points {self.points} are {len(self.shapes)} shapes, Core ML takes {MAX_SHAPES}; "
                "give shorter lists or ranges"
            )

    @property
    def certified_points(self) -> tuple[int, ...]:
        """Return the numbers of points for the certificate: the two smallest that suffice, and the largest."""
        ends = self.points.values
        found = [count for count in (range(ends[0], ends[-1] + 1) if self.points.ranged else ends) if count >= FEWEST_POINTS]
        return tuple(sorted({*found[:2], *found[-1:]}))

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All pairs (P, N) of listed values, in the same order for all inputs: Core ML matches their lists by position."""
        return [(prompts, points) for prompts in self.prompts.values for points in self.points.values]

    @property
    def enumerated(self) -> bool:
        """Whether the shapes are a list of several."""
        return len(self.shapes) > 1 and not (self.prompts.ranged or self.points.ranged)
