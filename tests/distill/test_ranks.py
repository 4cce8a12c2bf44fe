"""What processes of a run tell each other, so that none waits for one that has failed."""

from collections.abc import Callable

import pytest

from distill import ranks
from distill.training import check_same_data
from encoders.errors import InputError

Gathers = Callable[..., None]


def refuse() -> int:
    raise InputError("the cache is not on this node")


def full() -> int:
    raise OSError("no space left")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Gathers:
    """A second rank that gathers what it is told to."""

    def gathers(value: object, *, first: bool = True) -> None:
        monkeypatch.setattr(ranks, "is_first_rank", lambda: first)
        monkeypatch.setattr(ranks, "gather_over_ranks", lambda ours: [ours, value] if first else [value, ours])

    return gathers


def test_where_an_action_fails_on_one_rank_all_end(other: Gathers) -> None:
    other(False)
    assert ranks.on_every_rank(lambda: 7) == 7
    for failed in (False, True):
        other(failed)
        with pytest.raises(InputError, match="not on this node"):
            ranks.on_every_rank(refuse)
    with pytest.raises(SystemExit) as stopped:
        ranks.on_every_rank(lambda: 7)
    assert stopped.value.code == 2


@pytest.mark.parametrize(("action", "kind"), [(refuse, InputError), (full, OSError)])
def test_whatever_fails_on_the_first_rank_the_others_hear_of_it(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], int], kind: type[Exception]
) -> None:
    told: list[object] = []
    
    def gather(ours: object) -> list[object]:
        told.append(ours)
        return [ours]

    monkeypatch.setattr(ranks, "gather_over_ranks", gather)
    with pytest.raises(kind):
        ranks.on_first_rank(action)
    assert told == [(None, True)]


def test_the_others_end_or_go_on_as_the_first_rank_says(other: Gathers) -> None:
    other((None, True), first=False)
    with pytest.raises(SystemExit) as stopped:
        ranks.on_first_rank(lambda: 7)
    assert stopped.value.code == 2
    other((5, False), first=False)
    assert ranks.on_first_rank(refuse) == 5


def test_a_rank_that_reads_another_cache_is_named() -> None:
    check_same_data(["a in order 1"] * 3)
    check_same_data([None, None])
    with pytest.raises(InputError, match="the cache of rank 2 is another than that of rank 0: .* b in order 1"):
        check_same_data(["a in order 1", "a in order 1", "b in order 1"])
