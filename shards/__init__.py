"""Teacher embeddings on disk and back: sources of photos, shards with a manifest, and the loader for training."""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from shards.batch import Batch, DeviceBatch, make_batch
    from shards.codec import CODECS, decode_embedding, encode_embedding, get_codec
    from shards.estimate import PrecomputePlan, plan_precompute
    from shards.fidelity import Comparison, Fidelity, measure_fidelity
    from shards.findings import Problem, VerifyReport
    from shards.gate import check_codec, missed_gate
    from shards.identity import CacheIdentity
    from shards.ingest import IngestPlan, ingest
    from shards.loader import ShardLoader
    from shards.manifest import Manifest, ShardEntry
    from shards.precompute import PrecomputeSummary, precompute, wanted_identity
    from shards.progress import PrecomputeProgress
    from shards.reader import ShardReader, StoredSample
    from shards.repair import clear_damaged
    from shards.source import Item, Photo, Source
    from shards.sources import open_source
    from shards.stats import CacheSample, CacheStats
    from shards.tar_index import Listing
    from shards.verify import verify
    from shards.views import ViewSource

__all__ = [
    "CODECS",
    "Batch",
    "CacheIdentity",
    "CacheSample",
    "CacheStats",
    "Comparison",
    "DeviceBatch",
    "Fidelity",
    "IngestPlan",
    "Item",
    "Listing",
    "Manifest",
    "Photo",
    "PrecomputePlan",
    "PrecomputeProgress",
    "PrecomputeSummary",
    "Problem",
    "ShardEntry",
    "ShardLoader",
    "ShardReader",
    "Source",
    "StoredSample",
    "VerifyReport",
    "ViewSource",
    "clear_damaged",
    "check_codec",
    "decode_embedding",
    "encode_embedding",
    "get_codec",
    "ingest",
    "make_batch",
    "measure_fidelity",
    "missed_gate",
    "open_source",
    "plan_precompute",
    "precompute",
    "verify",
    "wanted_identity",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "batch": ("Batch", "DeviceBatch", "make_batch"),
            "codec": ("CODECS", "decode_embedding", "encode_embedding", "get_codec"),
            "estimate": ("PrecomputePlan", "plan_precompute"),
            "fidelity": ("Comparison", "Fidelity", "measure_fidelity"),
            "findings": ("Problem", "VerifyReport"),
            "gate": ("check_codec", "missed_gate"),
            "identity": ("CacheIdentity",),
            "ingest": ("IngestPlan", "ingest"),
            "loader": ("ShardLoader",),
            "manifest": ("Manifest", "ShardEntry"),
            "precompute": ("PrecomputeSummary", "precompute", "wanted_identity"),
            "progress": ("PrecomputeProgress",),
            "reader": ("ShardReader", "StoredSample"),
            "repair": ("clear_damaged",),
            "source": ("Item", "Photo", "Source"),
            "sources": ("open_source",),
            "stats": ("CacheSample", "CacheStats"),
            "tar_index": ("Listing",),
            "verify": ("verify",),
            "views": ("ViewSource",),
        },
    )
