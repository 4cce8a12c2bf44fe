"""One table for the phone and the server, and citations apart."""

import csv
import io
import json

from eval_zeroshot.latency import latency_grids
from eval_zeroshot.latency.published import published_latencies
from eval_zeroshot.latency.rows import Placement
from eval_zeroshot.latency.writing import write_table
from eval_zeroshot.render import grid_to_markdown


def cells(grid):
    return [[cell.text for cell in line] for line in grid.rows]


def test_models_stand_against_runtimes_where_there_are_several_of_both(row):
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


def test_intervals_memory_and_threads_that_were_not_taken_are_shown(row):
    ratio = {"ratio_to_baseline": 0.45, "ratio_low": 0.44, "ratio_high": 0.47}
    one = row(**ratio, start_mb=430.0, peak_mb=512.0, threads=2, threads_effective=1)
    (grid,) = latency_grids([one], published=False)
    line = dict(zip(grid.header, cells(grid)[0], strict=True))
    assert (line["95 %"], line["memory MB"], line["threads"]) == ("0.44–0.47", "512 (+82)", "2 (says 1)")


def test_columns_that_nobody_fills_are_left_out(row):
    (grid,) = latency_grids([row()], published=False)
    assert "placement" not in grid.header and "ratio" not in grid.header and "p99" in grid.header


def test_what_failed_stands_in_the_table_with_its_reason(row):
    (grid,) = latency_grids([row(), row(model="big", how="failed", p50_ms=None, note="out of memory")], published=False)
    assert cells(grid)[1][grid.header.index("p50")] == "failed" and "torch (big): out of memory." in grid.caption


def test_published_latencies_are_those_that_were_printed():
    found = {(g.source, g.part, g.device, model): g.shown(model) for g in published_latencies() for model in g.numbers}
    assert found["RepViT-SAM", "encoder", "iPhone 12", "RepViT-SAM"] == "48.9 ms"
    assert found["RepViT-SAM", "encoder", "iPhone 12", "MobileSAM"] == "OOM"
    assert found["RepViT-SAM", "decoder", "iPhone 12", "SAM's mask decoder"] == "11.6 ms"
    assert found["RepViT-SAM", "encoder", "MacBook M1 Pro", "SAM ViT-B"] == "6249.5 ms"
    assert found["EdgeSAM", None, "iPhone 14", "EdgeSAM"] == "38.7 images/s"
    assert all(group.citation for group in published_latencies())


def test_citations_are_a_table_of_their_own(row):
    *_, last = latency_grids([row()])
    assert "not comparable" in last.title and "arXiv:2312.05760" in last.caption
    assert any(line[:2] == ["MobileSAM", "OOM"] for line in cells(last))
    assert "RepViT-SAM" not in grid_to_markdown(latency_grids([row()])[0])


def test_a_spreadsheet_has_a_line_a_row_and_json_all_of_it(row):
    rows = [row(note="a, comma"), row(model="big", how="failed", p50_ms=None)]
    text = io.StringIO()
    write_table([], kind="csv", rows=rows, stream=text)
    lines = list(csv.DictReader(io.StringIO(text.getvalue())))
    shown = [(line["model"], line["p50_ms"], line["note"]) for line in lines]
    assert shown == [("repvit", "412.0", "a, comma"), ("big", "", "")]
    text = io.StringIO()
    write_table([], kind="json", rows=rows, stream=text)
    assert json.loads(text.getvalue())[0]["cpu_ms"] == 409.0


def test_a_terminal_shows_the_tables(row, capsys):
    write_table(latency_grids([row()], published=False), kind="terminal", rows=[row()])
    assert "412" in capsys.readouterr().out
    text = io.StringIO()
    write_table(latency_grids([row()]), kind="terminal", rows=[row()], stream=text)
    assert "48.9 ms" in text.getvalue()
