"""Measured and imported rows in one table, published latencies in another."""

import csv
import io
import json

from eval_zeroshot.latency import latency_grids
from eval_zeroshot.latency.report.writing import write_table
from eval_zeroshot.latency.rows.published import published_latencies
from eval_zeroshot.latency.rows.row import Placement
from eval_zeroshot.report.render import grid_to_markdown


def cells(grid):
    return [[cell.text for cell in line] for line in grid.rows]


def test_several_models_and_runtimes_make_a_table_of_both(row):
    rows = [
        row(model="m0_9", ratio_to_baseline=0.4412), row(model="m0_9", runtime="openvino", p50_ms=25.34, loaded=True),
        row(model="tiny_vit", p50_ms=934.0, ratio_to_baseline=1.0),
    ]  # fmt: skip
    pivot, details = latency_grids(rows, published=False)
    assert pivot.title == "encoder: a server, 1 thread, 1024 px (ms)"
    assert pivot.header == ["model", "torch", "openvino"]
    assert cells(pivot) == [["m0_9", "412 (0.44)", "25.3!"], ["tiny_vit", "934 (1.00)", "–"]]
    assert len(details.rows) == 3


def test_the_phone_and_the_server_share_a_table(row):
    phone = row(
        runtime="coreml", device="iPhone 12, iOS 17.2", threads=None, how="xcode report", p50_ms=48.9, cpu_ms=None,
        placement={"Neural Engine": Placement(operations=200, cost=0.97), "CPU": Placement(operations=2, cost=0.03)},
    )  # fmt: skip
    (grid,) = latency_grids([row(), phone], published=False)
    lines = [dict(zip(grid.header, line, strict=True)) for line in cells(grid)]
    assert [(line["device"], line["p50"]) for line in lines] == [("a server", "412"), ("iPhone 12, iOS 17.2", "48.9")]
    assert lines[1]["placement"] == "Neural Engine 97 %, CPU 3 %" and lines[1]["threads"] == "–"


def unconfirmed(row, **changes):
    return row(**changes).model_copy(update={"threads_effective": None})


def test_intervals_memory_and_other_threads_than_asked_are_shown(row):
    ratio = {"ratio_to_baseline": 0.45, "ratio_low": 0.44, "ratio_high": 0.47}
    one = row(**ratio, start_mb=430.0, peak_mb=512.0, device_peak_mb=99.6, threads=2)
    (grid,) = latency_grids([one.model_copy(update={"threads_effective": 1}), unconfirmed(row)], published=False)
    line, other = (dict(zip(grid.header, line, strict=True)) for line in cells(grid))
    assert (line["95 %"], line["memory MB"], line["GPU memory MB"]) == ("0.44–0.47", "512 (+82)", "100")
    assert (line["threads"], other["threads"]) == ("2 (runtime reports 1)", "1 (not confirmed)")


def test_rows_whose_threads_are_not_confirmed_stay_out_of_the_others_table(row):
    rows = [row(model=model, runtime=runtime) for model in "ab" for runtime in ("torch", "openvino")]
    rows += [unconfirmed(row, model=model, runtime=runtime) for model in "ab" for runtime in ("litert", "executorch")]
    confirmed, other, _ = latency_grids(rows, published=False)
    assert confirmed.title == "encoder: a server, 1 thread, 1024 px (ms)" and confirmed.header == ["model", "torch", "openvino"]
    assert other.title == "encoder: a server, 1 thread (not confirmed), 1024 px (ms)"
    assert other.header == ["model", "litert", "executorch"]


def test_rows_of_other_calls_versions_and_precisions_are_told_apart(row):
    decoder = {"part": "decoder", "runtime_name": "ORT 1.0", "precision": "fp32"}
    rows = [
        row(**decoder, model=model, runtime=runtime, detail={"prompts": prompts}, p50_ms=float(prompts))
        for model in "ab" for runtime in ("torch", "onnxruntime") for prompts in (1, 64)
    ]  # fmt: skip
    one, many, details = latency_grids(rows, published=False)
    assert one.title.endswith("1024 px, prompts 1 (ms)") and many.title.endswith("1024 px, prompts 64 (ms)")
    assert cells(many) == [["a", "64.0", "64.0"], ["b", "64.0", "64.0"]]
    assert [line[details.header.index("about")] for line in cells(details)][:2] == ["prompts 1", "prompts 64"]
    newer = rows[2].model_copy(update={"runtime_name": "ORT 2.0", "precision": "int8", "p50_ms": 0.5})
    one, *_, details = latency_grids([*rows, newer], published=False)
    assert one.header == ["model", "torch", "onnxruntime (ORT 1.0, fp32)", "onnxruntime (ORT 2.0, int8)"]
    assert cells(one)[0] == ["a", "1.00", "1.00", "0.50"] and cells(one)[1][-1] == "–"
    assert {line[details.header.index("version")] for line in cells(details)} == {"–", "ORT 1.0", "ORT 2.0"}


def test_rows_that_nothing_tells_apart_share_a_cell(row):
    rows = [row(model=model, runtime=runtime) for model in "ab" for runtime in ("torch", "coreml")]
    rows.append(row(model="a", runtime="coreml", detail={"file": "other"}, p50_ms=7.0))
    pivot, _ = latency_grids(rows, published=False)
    assert cells(pivot)[0] == ["a", "412", "412 / 7.00"]


def test_throughput_on_a_busy_machine_is_marked(row):
    (grid,) = latency_grids([row(throughput={1: 2.0, 8: 3.125}, throughput_other_cpu={1: 0.01, 8: 0.5})], published=False)
    assert cells(grid)[0][grid.header.index("images/s by batch")] == "1: 2.00, 8: 3.12!"


def test_the_legend_says_what_the_ratio_is(row):
    (grid,) = latency_grids([row(ratio_to_baseline=0.5)], published=False)
    assert "median of the round medians divided by the baseline's" in grid.caption


def test_empty_columns_are_left_out(row):
    (grid,) = latency_grids([row()], published=False)
    assert "placement" not in grid.header and "ratio" not in grid.header and "p99" in grid.header


def test_failed_rows_are_in_the_table_with_their_reason(row):
    (grid,) = latency_grids([row(), row(model="big", how="failed", p50_ms=None, note="out of memory")], published=False)
    assert cells(grid)[1][grid.header.index("p50")] == "failed" and "torch (big): out of memory." in grid.caption


def test_published_latencies_are_as_printed():
    found = {(g.source, g.part, g.device, model): g.shown(model) for g in published_latencies() for model in g.numbers}
    assert found["RepViT-SAM", "encoder", "iPhone 12", "RepViT-SAM"] == "48.9 ms"
    assert found["RepViT-SAM", "encoder", "iPhone 12", "MobileSAM"] == "OOM"
    assert found["RepViT-SAM", "decoder", "iPhone 12", "SAM's mask decoder"] == "11.6 ms"
    assert found["RepViT-SAM", "encoder", "MacBook M1 Pro", "SAM ViT-B"] == "6249.5 ms"
    assert found["EdgeSAM", None, "iPhone 14", "EdgeSAM"] == "38.7 images/s"
    assert found["EfficientViT-SAM", None, "NVIDIA A100", "EfficientViT-SAM-L0"] == "762 images/s"
    assert found["EfficientViT-SAM", None, "NVIDIA A100", "EfficientViT-SAM-XL1"] == "182 images/s"
    assert found["EfficientViT-SAM", None, "Orin", "EfficientViT-SAM-XL1"] == "37.2 ms"
    assert found["NanoSAM", "whole", "NVIDIA Jetson AGX Orin", "NanoSAM ResNet18"] == "8.1 ms"
    assert found["MobileSAM", None, "a GPU", "FastSAM"] == "64 ms" and found["MobileSAM", None, "a GPU", "MobileSAM"] == "12 ms"
    assert found["RepViT", "classifier", "iPhone 12", "RepViT-M2.3"] == "2.3 ms"
    sizes = {model: g.image_size for g in published_latencies() if g.device == "Orin" for model in g.numbers}
    assert sizes["EfficientViT-SAM-L2"] == 512 and sizes["EfficientViT-SAM-XL0"] == 1024
    assert all(group.citation for group in published_latencies())


def test_citations_are_a_table_of_their_own(row):
    *_, last = latency_grids([row()])
    assert "not comparable" in last.title and "arXiv:2312.05760" in last.caption
    assert any(line[:2] == ["MobileSAM", "OOM"] for line in cells(last))
    assert "RepViT-SAM" not in grid_to_markdown(latency_grids([row()])[0])


def test_a_spreadsheet_has_a_line_a_row_and_json_all_of_it(row):
    rows = [row(note="a, comma"), row(model="=SUM(A1)\u202e", how="failed", p50_ms=None)]
    text = io.StringIO()
    write_table([], kind="csv", rows=rows, stream=text)
    lines = list(csv.DictReader(io.StringIO(text.getvalue())))
    shown = [(line["model"], line["p50_ms"], line["note"]) for line in lines]
    assert shown == [("repvit", "412.0", "a, comma"), ("'=SUM(A1)\\u202e", "", "")]
    text = io.StringIO()
    write_table([], kind="json", rows=rows, stream=text)
    assert json.loads(text.getvalue())[0]["cpu_ms"] == 409.0


def test_a_terminal_shows_the_tables(row, capsys):
    write_table(latency_grids([row()], published=False), kind="terminal", rows=[row()])
    assert "412" in capsys.readouterr().out
    text = io.StringIO()
    write_table(latency_grids([row()]), kind="terminal", rows=[row()], stream=text)
    assert "48.9 ms" in text.getvalue()
