"""Runs of the embedding stage with other losses, augmentation and starting points, end to end."""

import json
import shutil

import pytest
import torch
import yaml

import encoders
from distill.config.reading import read_run
from distill.config.runs import EmbeddingRun
from distill.embedding_task import EmbeddingTask
from distill.loop import distill


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def cache(tiny_cache, tmp_path):
    return shutil.copytree(tiny_cache, tmp_path / "cache")


@pytest.fixture
def run_of(tmp_path, tiny_settings, cache):
    """Trains a tiny run of three steps; keyword arguments replace whole sections."""

    def run(name, **changes):
        data = {"cache": str(cache), "num_workers": 0} | changes.pop("data", {})
        content = tiny_settings | {"out": str(tmp_path / name), "schedule": {"steps": 3}, "data": data} | changes
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return distill(read_run(tmp_path / f"{name}.yaml"))

    return run


def test_every_loss_with_augmentation_from_an_earlier_student(run_of, cache, command, tmp_path):
    code, out, _ = command("cache", "stats", cache, "--channels", "--json")
    assert code == 0 and json.loads(out)["samples"] == 14 and (cache / "channels.json").is_file()
    torch.manual_seed(0)
    earlier = encoders.build_sam("repvit_m0_6", image_size=64)
    encoders.save_sam(earlier, tmp_path / "earlier.safetensors")
    loss = {"mse": 1.0, "plain_mse": 0.5, "l1": 0.3, "huber": 0.2, "huber_delta": 0.1, "cosine": 0.1}
    folder = run_of(
        "all",
        loss=loss | {"normalize": "channel"},
        data={"augment": {"colour": 0.3, "blur": 0.5, "noise": 0.5, "jpeg": 0.5}},
        model={"arch": "repvit_m0_6", "image_size": 64, "init": str(tmp_path / "earlier.safetensors")}
        | {"freeze_batchnorm": True},
    )
    assert {"mse", "plain_mse", "l1", "huber", "cosine"} <= metrics(folder)[0].keys()
    start = json.loads((folder / "run.json").read_text())["start"]
    assert start == {"what": "a SAM with repvit_m0_6", "tensors": 468, "of": 468}
    before, after = earlier.image_encoder.state_dict(), encoders.load(folder).image_encoder.state_dict()
    for key, value in after.items():
        statistics = "running_" in key or "num_batches" in key
        assert torch.equal(value, before[key]) == statistics, key


def test_a_cache_without_statistics_is_refused_with_the_command_that_writes_them(run_of, cache):
    with pytest.raises(encoders.InputError, match=f"repvit-sam cache stats {cache} --channels"):
        run_of("x", loss={"normalize": "channel"})


def test_the_loss_of_a_student_that_knows_nothing_but_the_means_is_one(cache, tiny_settings, command):
    """Normalised, the teacher's channels have mean 0 and variance 1 over the cache."""
    assert command("cache", "stats", cache, "--channels")[0] == 0
    changes = {"data": {"cache": str(cache), "num_workers": 0}, "global_batch": 14, "loss": {"normalize": "channel"}}
    task = EmbeddingTask(EmbeddingRun.model_validate(tiny_settings | changes), batch_size=14, rank=0, world_size=1)
    batch = next(task.batches(start_step=0))
    mean = task._scale.mean

    class Means(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(()))

        def forward(self, image):
            return mean.expand(len(image), -1, image.shape[2] // 16, image.shape[3] // 16)

    assert float(task.losses(Means(), batch)["mse"]) == pytest.approx(1, abs=0.1)  # photos count by themselves, not by area
