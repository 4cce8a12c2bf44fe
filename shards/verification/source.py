"""Verification that a cache's source photos are unchanged."""

from functools import partial

from shards.cache.identity import CACHE_FILE, CacheIdentity
from shards.pipeline.shard_plan import shard_count
from shards.sources.base import Source
from shards.verification.findings import Problem, Remedy, VerifyReport

SAME = "the same"


def verify_source(report: VerifyReport, identity: CacheIdentity, source: Source) -> None:
    """Compare the source recorded in `cache.json` with the given source and add the result to the report.

    The photos are not read: names and sizes are compared, as in a precompute.
    """
    by_hand = partial(Problem, where=CACHE_FILE, remedy=Remedy.BY_HAND)
    facts = {"source": source.name, "source_sha256": source.identity()}
    report.source = SAME
    for name, now in facts.items():
        if (there := getattr(identity, name)) != now:
            report.source = f"not the same: {name}"
            text = (
                f"{name} is {there}, the photos that config.yaml names give {now}, so precompute refuses to go on. If they are"
                f" the cache's, remove {CACHE_FILE} and run cache verify --repair, which writes it again; if they have changed,"
                " bring them back, or make the cache again in another folder"
            )
            report.problems.append(by_hand(problem=text))
    count = shard_count(source, identity.samples_per_shard)
    if report.source == SAME and identity.shards != count:
        text = f"shards is {identity.shards}, {len(source.items())} photos at {identity.samples_per_shard} a shard make {count}"
        report.problems.append(Problem(where=CACHE_FILE, problem=text))
