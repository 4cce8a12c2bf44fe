"""Labels that distinguish the rows of a table or picture."""

from collections.abc import Iterable, Sequence

from eval_zeroshot.latency.rows.row import LatencyRow


def runtime_labels(rows: Sequence[LatencyRow]) -> list[str]:
    """The runtime of each row; with version and precision where a runtime occurs with several of them.

    A row without a time gets the label of the first timed row of its runtime, as it does not know these.
    """
    found: list[str] = []
    for row in rows:
        timed = [one for one in rows if one.runtime == row.runtime and one.p50_ms is not None]
        known = row if row.p50_ms is not None or not timed else timed[0]
        mixed = [name for name in ("runtime_name", "precision") if is_mixed(getattr(one, name) for one in timed)]
        facts = [getattr(known, name) for name in mixed]
        extra = ", ".join(str(fact) for fact in facts if fact is not None)
        found.append(row.runtime.replace("_", " ") + (f" ({extra})" if extra else ""))
    return found


def is_mixed(values: Iterable[object]) -> bool:
    """Whether there is more than one value."""
    return len(set(values)) > 1


def is_confirmed(row: LatencyRow) -> bool:
    """Whether the runtime reported the number of threads that was asked for; also true if none was asked for."""
    return row.threads is None or row.threads_effective == row.threads


def threads_label(row: LatencyRow) -> str:
    """The number of threads, and what the runtime reports if that is not the same; empty if none was asked for."""
    if row.threads is None:
        return ""
    if row.p50_ms is None or is_confirmed(row):
        return str(row.threads)
    reported = "not confirmed" if row.threads_effective is None else f"runtime reports {row.threads_effective}"
    return f"{row.threads} ({reported})"
