import numpy as np
import pytest

from encoders.errors import InputError
from eval_zeroshot import FillBox, box_iou, evaluate, get_suite, observe_share, open_dataset, point_iou
from eval_zeroshot.datasets.opening import EvalDataset
from tests.layouts import make_davis


class Counting(FillBox):
    """A filled box that counts its photos."""

    def __init__(self):
        super().__init__()
        self.images = 0

    def set_image(self, image, /):
        super().set_image(image)
        self.images += 1


@pytest.fixture
def dataset(make_sample):
    photos = [make_sample((1 + at, 2, 9 + at, 5), (12, 3, 18, 7 + at), key=f"p{at}", mark=at) for at in range(5)]
    return EvalDataset(photos, name="five")


@pytest.fixture
def states(tmp_path):
    return tmp_path / "alone", tmp_path / "shared"


def lines(results):
    return [result.to_line() for result in results]


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_shares_add_up_to_the_whole_and_nothing_is_asked_twice(dataset, states, world_size):
    suites = [box_iou, point_iou]
    alone = evaluate({"fill": FillBox()}, suites=suites, samples=dataset, state=states[0])
    counts = []
    for rank in range(world_size):
        model = Counting()
        observe_share(
            {"fill": model}, suites=suites, samples=dataset, rank=rank, world_size=world_size, state=states[1]
        )
        counts.append(model.images)
    assert sum(counts) == 5 and max(counts) == -(-5 // world_size)
    last = Counting()
    assert lines(evaluate({"fill": last}, suites=suites, samples=dataset, state=states[1])) == lines(alone)
    assert last.images == 0


def test_what_a_killed_rank_left_is_asked_by_whoever_sums_up(dataset, states):
    alone = evaluate({"fill": FillBox()}, suites=[box_iou], samples=dataset, state=states[0])
    observe_share({"fill": Counting()}, suites=[box_iou], samples=dataset, rank=1, world_size=2, state=states[1])
    (file,) = states[1].glob("*rank-1-of-2.jsonl")
    file.write_text(file.read_text()[:-20])  # killed within the last line: photo 3
    last = Counting()
    assert lines(evaluate({"fill": last}, suites=[box_iou], samples=dataset, state=states[1])) == lines(alone)
    assert last.images == 4  # photos 0, 2, 4 of rank 0, and photo 3


def test_the_number_of_processes_may_change_between_calls(dataset, states):
    observe_share({"fill": Counting()}, suites=[box_iou], samples=dataset, rank=0, world_size=2, state=states[1])
    models = [Counting(), Counting(), Counting()]
    for rank, model in enumerate(models):
        observe_share({"fill": model}, suites=[box_iou], samples=dataset, rank=rank, world_size=3, state=states[1])
    assert [model.images for model in models] == [1, 1, 0]  # photos 0, 2 and 4 were seen


class KeepsAndFollows(type(get_suite("video"))):
    """Frames that follow, with files to keep."""

    name = "kept_video"

    def observe_keeping(self, predictor, sample, *, folder):
        raise AssertionError("the frame before it would be forgotten")


def test_a_suite_that_keeps_files_and_follows_is_refused_before_a_photo_is_asked(dataset, states):
    suites, counting = [box_iou, KeepsAndFollows()], Counting()
    with pytest.raises(InputError, match="kept_video has both observe_keeping and observe_following.*remove one"):
        evaluate({"fill": counting}, suites=suites, samples=dataset, state=states[0])
    with pytest.raises(InputError, match="kept_video has both"):
        observe_share({"fill": counting}, suites=suites, samples=dataset, rank=0, world_size=2, state=states[0])
    assert counting.images == 0 and not states[0].exists()


def test_the_frames_of_a_video_stay_together(tmp_path):
    def walk(first, count):
        frames = [np.zeros((24, 40), np.uint8) for _ in range(count)]
        for at, frame in enumerate(frames):
            frame[5:12, first + at : first + at + 9] = 1
        return frames

    folder = make_davis(tmp_path, {"long": walk(3, 4), "short": walk(20, 2), "middle": walk(9, 3)})
    dataset = open_dataset(folder)
    assert dataset.blocks() == [range(0, 4), range(4, 6), range(6, 9)]
    assert open_dataset(folder, limit=5).blocks() == [range(0, 4), range(4, 5)]
    video = get_suite("video")
    alone = evaluate({"fill": FillBox()}, suites=[video], samples=dataset, state=tmp_path / "alone")
    for rank in (1, 0):
        observe_share(
            {"fill": FillBox()}, suites=[video], samples=dataset, rank=rank, world_size=2, state=tmp_path / "shared"
        )
    assert lines(evaluate({"fill": FillBox()}, suites=[video], samples=dataset, state=tmp_path / "shared")) == lines(alone)
