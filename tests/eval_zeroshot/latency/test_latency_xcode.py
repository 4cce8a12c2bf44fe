"""Xcode's performance reports, in the form that Xcode writes: a folder NAME.mlperf with report.json."""

import json

import pytest

from encoders.errors import InputError
from eval_zeroshot.latency import read_latencies
from eval_zeroshot.latency.rows.xcode import read_report


def operation(name, *, on=None, cost=None):
    """An operation of the report's model; constants have neither processor nor cost."""
    found = {"operatorName": name, "inputs": {}, "blocks": [], "outputs": [{"name": name, "type": {}}]}
    if on is not None:
        found |= {"cost": {"weight": cost}, "deviceUsage": {"preferred": {"deviceType": {on: {}}}, "supported": []}}
    return found


@pytest.fixture
def report():
    operations = [
        operation("const"),
        operation("ios17.conv", on="neuralEngine", cost=0.625),
        operation("ios17.conv", on="neuralEngine", cost=0.25),
        operation("ios17.gather", on="cpu", cost=0.125),
    ]
    return {
        "jsonVersion": 1,
        "deviceResultVersion": 4,
        "computeUnit": 2,
        "deviceInfo": {
            "modelName": "iPhone 12",
            "osNameAndVersionWithoutBuildNumber": "iOS 17.2",
            "serialNumber": "F4GSERIAL",
            "deviceID": "00008101-DEVICE",
            "displayName": "Ada's phone",
        },
        "modelMetadata": {"fileName": "repvit_m1_1_encoder", "modelUrl": "file:///Users/ada/secret.mlpackage", "size": 775344},
        "deviceResults": {
            "perfRunConfig": {"loadCount": 1, "experimentIterations": 2, "predictionCount": 4},
            "compile": {"samples": [0.07]},
            "load": {"samples": [0.297, 0.0197]},
            "predict": {"numOperations": 4, "samples": [0.9, 0.046, 0.048, 0.050, 0.2, 0.048, 0.050, 0.046]},
            "modelStructure": {"program": {"_0": {"functions": {"main": {"block": {"operations": operations}}}}}},
        },
    }


@pytest.fixture
def written(tmp_path, report):
    """Writes the report as Xcode does and gives the folder."""

    def write(name="m1_1.mlperf"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report))
        return folder

    return write


def test_the_first_prediction_after_each_load_does_not_count(written):
    row = read_report(written())
    assert row.calls == 6 and row.p50_ms == pytest.approx(48.0) and row.p99_ms == pytest.approx(50.0)
    assert row.first_call_ms == pytest.approx(900.0) and row.load_ms == pytest.approx(297.0)


def test_model_part_device_and_processors_are_read(written):
    row = read_report(written())
    assert (row.model, row.part, row.runtime, row.device) == ("repvit_m1_1", "encoder", "coreml", "iPhone 12, iOS 17.2")
    assert row.how == "xcode report" and row.runtime_name == "Core ML, all" and row.threads is None
    placed = {name: (one.operations, one.cost) for name, one in row.placement.items()}
    assert placed == {"Neural Engine": (2, 0.875), "CPU": (1, 0.125)}


def test_nothing_that_names_the_phone_or_its_owner_is_copied(written):
    line = read_report(written()).to_line()
    for secret in ("F4GSERIAL", "00008101", "Ada", "ada", "secret"):
        assert secret not in line


def test_a_decoder_is_known_by_its_name_and_another_name_can_be_given(written, report, tmp_path):
    report["modelMetadata"]["fileName"] = "RepViT-SAM_MaskDecoder"
    assert read_report(written()).part == "decoder"
    (row,) = read_latencies([f"ours:encoder={written()}"])
    assert (row.model, row.part) == ("ours", "encoder")
    (row,) = read_latencies([f"ours={written() / 'report.json'}"])
    assert (row.model, row.part) == ("ours", "decoder")


def test_reports_with_other_compute_units_are_other_measurements(written, report):
    first = written("all.mlperf")
    report["computeUnit"] = 1
    rows = read_latencies([str(first), str(written("gpu.mlperf"))])
    assert [row.runtime_name for row in rows] == ["Core ML, all", "Core ML, CPU and GPU"]


def test_a_report_without_structure_or_run_configuration_has_its_times(written, report):
    del report["deviceResults"]["modelStructure"], report["deviceResults"]["perfRunConfig"], report["deviceResults"]["load"]
    row = read_report(written())
    assert row.calls == 7 and row.placement == {} and row.load_ms is None


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("deviceResults", "predict", "samples"), [], "deviceResults.predict.samples"),
        (("deviceResults", "predict", "samples"), [0.1, -3], "deviceResults.predict.samples.1"),
        (("deviceResults", "predict", "samples"), [0.1, "fast"], "deviceResults.predict.samples.1"),
        (("deviceInfo",), {}, "deviceInfo.modelName"),
        (("computeUnit",), "ANE", "computeUnit"),
    ],
)
def test_an_invalid_report_is_refused_with_the_field(written, report, path, value, field):
    place = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=f"not a performance report of Xcode .{field}"):
        read_report(written())


def test_unknown_structures_are_ignored(written, report):
    report["deviceResults"]["modelStructure"] = {"program": {"_0": {"functions": {"main": None, "other": {"block": [3]}}}}}
    assert read_report(written()).placement == {}


def test_files_that_are_not_reports(tmp_path):
    (tmp_path / "empty.mlperf").mkdir()
    with pytest.raises(InputError, match="report.json does not exist"):
        read_latencies([str(tmp_path / "empty.mlperf")])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="list.json has no row"):
        read_latencies([str(tmp_path / "list.json")])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="not a performance report of Xcode"):
        read_latencies([str(tmp_path / "other.json")])
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="only a report of Xcode"):
        read_latencies([f"ours={tmp_path / 'rows.jsonl'}"])
    with pytest.raises(InputError, match="unknown part 'head'"):
        read_latencies([f"ours:head={tmp_path / 'list.json'}"])
