import pytest

from eval_zeroshot import Result, compare, get_suite, ready_suites
from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import Detections
from eval_zeroshot.report.columns import Group, reading_note
from eval_zeroshot.report.guessed import guessed_reading
from eval_zeroshot.report.observed import Seen, primary_values
from eval_zeroshot.report.page import page
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import Reading
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS
from eval_zeroshot.suites.detector_boxes.seginw import SegInW

DETECTIONS = Detections(name="boxes.json", sha256="0" * 64, records=[])
TRUTH = Annotations(kind="coco", name="truth.json", images=[], annotations=[], categories=[])


def result(suite: str = "box", **facts) -> Result:
    given = {"version": "1", "protocol": "ground truth", "model": "ours", "dataset": "hand", "images": 3}
    return Result(suite=suite, **({"value": 0.5, "n": 2, "standard_error": 0.1} | given | facts))


def group_of(*results: Result) -> Group:
    first = results[0]
    return Group(dataset="hand", suite=first.suite, version=first.version, protocol=first.protocol, results=results)


def seen(tmp_path, **values: list[float]) -> Seen:
    return Seen(photos={"a": Observation(key="a", ids=[10, 11], values=values)}, folder=tmp_path)


UNUSED = {"box_jitter": ("further_titles",), "point_shift": ("further_titles",), "everything": ("family",)}


def test_a_suite_states_what_results_of_earlier_versions_are_guessed_to_say():
    suites = ready_suites()
    assert len(suites) == 14
    for suite in suites.values():
        guessed = guessed_reading(suite.name, suite.protocol)
        own = dict.fromkeys(("primary", *UNUSED.get(suite.name.removesuffix("_32"), ())))
        assert suite.reading == guessed.model_copy(update={name: getattr(suite.reading, name) for name in own}), suite.name
    stated = {name: suite.reading.primary for name, suite in suites.items()}
    assert stated["box"] == "single" and stated["point"] == "click_1" and stated["edges"] is stated["video"] is None


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_an_instance_suite_names_its_protocol_in_its_title(protocol):
    suite = InstanceAp(protocol, detections=DETECTIONS, truth=TRUTH, may_be_empty=True)
    guessed = guessed_reading(suite.name, suite.protocol)
    assert suite.reading == guessed.model_copy(update={"error": None}) and suite.reading.title == f"mask AP ({protocol.name})"


def test_seginw_counts_data_sets():
    suite = SegInW(parts={}, keys={}, boxes="boxes")
    assert suite.reading == guessed_reading(suite.name, suite.protocol) and suite.reading.unit == "data sets"


@pytest.mark.parametrize("name", ["box", "saliency", "edges", "video", "anomaly", "everything"])
def test_the_results_of_a_suite_carry_its_reading(name):
    suite = get_suite(name)
    assert suite.summarise([], model="m", dataset="d").reading == suite.reading


def test_a_report_reads_what_was_stated_and_not_the_words_of_the_protocol():
    words = "mean over objects; ± is a spread over frames"
    stated = Reading(unit="leaves", error="mean", drawn="trees")
    note = reading_note(group_of(result(protocol=words, reading=stated, low=0.4, high=0.6)))
    assert "± is one standard error over leaves" in note and "by bootstrap over trees" in note
    assert "leaves" not in reading_note(group_of(result(protocol=words)))
    none = reading_note(group_of(result(reading=Reading(error=None))))
    assert "±" not in none


def test_one_result_that_states_its_reading_speaks_for_those_of_earlier_versions_beside_it():
    old, new = result(model="old"), result(model="new", reading=Reading(unit="leaves"))
    assert group_of(old, new).unit == group_of(new, old).unit == "leaves"


def test_the_same_numbers_with_and_without_a_reading_are_one_result():
    assert compare([result(), result(reading=Reading())]).notes == ()


def test_the_primary_values_are_those_that_the_suite_names_among_others_of_the_same_mean(tmp_path):
    its = seen(tmp_path, first=[0.5, 0.5], second=[0.25, 0.75])
    assert primary_values(result(reading=Reading(primary="second")), its) == {("a", 10): 0.25, ("a", 11): 0.75}
    assert primary_values(result(reading=Reading(primary=None)), its) is None
    assert primary_values(result(reading=Reading(primary="third")), its) is None
    assert primary_values(result(value=0.6, reading=Reading(primary="second")), its) is None
    assert primary_values(result(), its) == {("a", 10): 0.5, ("a", 11): 0.5}


def test_a_baseline_at_zero_is_explained_by_any_suite_that_is_made_of_probabilities():
    zero = result(suite="outlines", value=0.0, role="baseline", reading=Reading(made_of_logits=True))
    assert "no mask probabilities" in compare([zero]).notes[0]
    assert compare([zero.model_copy(update={"reading": Reading()})]).notes == ()


def test_titles_are_those_that_the_suite_states():
    stated = Reading(title="leaf IoU", further_titles={"oracle": "best leaf"})
    numbers = {"oracle": {"value": 0.9, "n": 2}, "click_3": {"value": 0.8, "n": 2}, "any_one": {"value": 0.7, "n": 2}}
    text = compare([result(suite="leaf_box", reading=stated, extra=numbers)]).markdown()
    assert "| model | leaf IoU | ± | 3 clicks | best leaf | any one |" in text
    assert "| model | leaf_box |" in compare([result(suite="leaf_box", reading=Reading())]).markdown()


def test_published_numbers_of_the_family_come_first():
    first = compare([result(suite="outlines", reading=Reading(family="edges"))], published=True).published[0]
    assert first.suite == "edges"


def test_the_gallery_draws_the_kind_of_prompt_that_the_suite_states(hand, read_page, tmp_path):
    photo = hand.photo("a", hand.mask(5, 3))

    def drawn(suite: str, **facts) -> str:
        its = hand.result("ours", [0.25], suite=suite, **facts)
        state = tmp_path / f"{suite}{facts}"[:60]
        hand.keep(state, its, [hand.seen(photo, [0.25], list(photo.masks))], name="ours")
        shown = read_page(page(compare([its]), states=[state], datasets=[hand.photos(photo)]))
        return shown.all("img")[0]["src"]

    nothing, box, point = (drawn("leaf", reading=Reading(primary="single", prompt=kind)) for kind in (None, "box", "point"))
    assert len({nothing, box, point}) == 3
    assert drawn("box_leaf") == box and drawn("point") == point and drawn("leaf") == nothing  # of earlier versions
    assert drawn("box", reading=Reading(primary="single")) == nothing


def test_a_line_of_an_earlier_version_keeps_its_bytes():
    assert '"reading"' not in result().to_line() and '"unit": "leaves"' in result(reading=Reading(unit="leaves")).to_line()


@pytest.mark.parametrize(
    ("protocol", "unit"),
    [
        ("IoU at the photo's resolution; mean over objects, crowds skipped", "objects"),
        ("nothing of this", "objects"),
        ("the share of wrong pixels of a photo; mean over photos", "photos"),
        ("F1 at the best threshold of all; mean over categories, which n and ± count", "categories"),
        ("value is the mean of the data sets' AP, which n and ± count", "data sets"),
        ("mean over frames, then over objects; n and ± count objects", "objects"),
        ("mean over levels; ± is a jackknife over photos", "photos"),
    ],
)
def test_what_n_counts_is_guessed_for_results_of_earlier_versions(protocol, unit):
    text = compare([result(protocol=protocol), result(suite="other")]).markdown()
    assert (f"box: n = 2 {unit};" if unit != "objects" else "box, other: n = 2 objects") in text
