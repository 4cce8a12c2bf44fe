"""`python -m benchmarks.codec` prints what it promises."""

import json
import sys

from benchmarks import codec


def test_one_json_object_with_every_codec_beside_fp16(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["codec", "--json", "--rounds", "1"])
    monkeypatch.setattr(codec, "BATCH", 1)
    codec.main()
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"]["int4"] < 0.36 * 2**20 < found["bytes"]["int8"] < 0.70 * 2**20 < found["bytes"]["fp16"]
    for step in ("encode", "parse", "dequantize"):
        assert set(found[f"{step}_ms"]) == set(codec.CODECS) and found[f"{step}_speed"]["fp16"] == 1
        assert all(value > 0 for value in found[f"{step}_ms"].values())
