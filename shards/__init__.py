"""Teacher embedding caches: photo sources, shards with a manifest, and the training data loader."""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from shards.cache.identity import CacheIdentity
    from shards.cache.manifest import Manifest, ShardEntry
    from shards.cache.shard_reader import ShardReader, StoredSample
    from shards.codec.fidelity import EmbeddingPair, Fidelity, measure_fidelity
    from shards.codec.records import CODECS, decode_embedding, encode_embedding, get_codec
    from shards.loading.batch import Batch, DeviceBatch, make_batch
    from shards.loading.loader import ShardLoader
    from shards.pipeline.codec_check import check_codec, missed_gate
    from shards.pipeline.estimate import PrecomputePlan, plan_precompute
    from shards.pipeline.ingest import IngestPlan, ingest
    from shards.pipeline.precompute import PrecomputeSummary, precompute, wanted_identity
    from shards.pipeline.progress import PrecomputeProgress
    from shards.sources.base import Item, Photo, Source
    from shards.sources.opening import open_source
    from shards.sources.tar_index import Listing
    from shards.sources.views import ViewSource
    from shards.verification.findings import Problem, VerifyReport
    from shards.verification.repair import clear_damaged
    from shards.verification.stats import CacheSample, CacheStats
    from shards.verification.verify import verify

__all__ = [
    "CODECS",
    "Batch",
    "CacheIdentity",
    "CacheSample",
    "CacheStats",
    "DeviceBatch",
    "EmbeddingPair",
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
            "loading.batch": ("Batch", "DeviceBatch", "make_batch"),
            "codec.records": ("CODECS", "decode_embedding", "encode_embedding", "get_codec"),
            "pipeline.estimate": ("PrecomputePlan", "plan_precompute"),
            "codec.fidelity": ("EmbeddingPair", "Fidelity", "measure_fidelity"),
            "verification.findings": ("Problem", "VerifyReport"),
            "pipeline.codec_check": ("check_codec", "missed_gate"),
            "cache.identity": ("CacheIdentity",),
            "pipeline.ingest": ("IngestPlan", "ingest"),
            "loading.loader": ("ShardLoader",),
            "cache.manifest": ("Manifest", "ShardEntry"),
            "pipeline.precompute": ("PrecomputeSummary", "precompute", "wanted_identity"),
            "pipeline.progress": ("PrecomputeProgress",),
            "cache.shard_reader": ("ShardReader", "StoredSample"),
            "verification.repair": ("clear_damaged",),
            "sources.base": ("Item", "Photo", "Source"),
            "sources.opening": ("open_source",),
            "verification.stats": ("CacheSample", "CacheStats"),
            "sources.tar_index": ("Listing",),
            "verification.verify": ("verify",),
            "sources.views": ("ViewSource",),
        },
    )
