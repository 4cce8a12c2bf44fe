"""Opening the photo source that a job's `source:` section names."""

from pathlib import Path

from distill.config.runs import PrecomputeConfig
from distill.jobs.sample_data import resolve_data
from distill.launching.world import World
from shards import Listing, Source, ViewSource, open_source
from shards.pipeline.object_stores.mirror import scratch_folder
from shards.stores.retry import is_url

INDEX_FOLDER = "tar_index"  # in the output folder: what is where in each tar


def index_folder(job: PrecomputeConfig) -> Path:
    """Return the folder of the tars' indexes: in the output folder, or in the scratch folder of an output at a URL."""
    return (scratch_folder(job.out, job.scratch) if is_url(job.out) else Path(job.out)) / INDEX_FOLDER


def open_photos(job: PrecomputeConfig, *, world: World | None = None, keep_index: bool = True) -> Source:
    """Open the photo source of a job.

    Args:
        job: its `source:` section, its seed (of the views) and its output folder count.
        world: this process among those that open the same source, so that they share the listing.
        keep_index: write what is where in each tar to the output folder, for the other processes and the next call;
            False writes it only where an earlier call did.

    Raises:
        InputError: see `shards.open_source`.
    """
    source, world, folder = job.source, world or World(), index_folder(job)
    photos = open_source(
        source.path if is_url(source.path) else str(resolve_data(source.path)),
        images=Path(source.images) if source.images else None,
        masks=source.masks,
        subset=source.subset,
        names=source.names,
        listing=Listing(
            folder=folder if keep_index or folder.is_dir() else None, rank=world.rank, world_size=world.world_size
        ),
    )
    if source.views == 1:
        return photos
    recipe = source.view_recipe
    return ViewSource(photos, views=source.views, seed=job.seed, scale=recipe.scale if recipe.kind == "jitter" else None)
