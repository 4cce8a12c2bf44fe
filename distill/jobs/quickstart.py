"""The quickstart: the whole workflow on the shipped sample, run as the commands that a user would type."""

import time
from pathlib import Path

import encoders
from distill.jobs.evaluate import run_eval
from distill.jobs.own_commands import run_command, say
from distill.jobs.sample_data import resolve_data
from encoders.files import atomic_path
from eval_zeroshot import compare, contact_sheet, open_dataset

TEACHER = "sam_demo"
STUDENTS = {"RepViT-M0.6": "repvit_m0_6", "TinyViT, same budget": "tiny_vit"}  # name in the table -> architecture
SUITES = ("box", "point")
IMAGE_SIZE = 640  # students learn from windows of 256 px in which objects are as large as in whole photos of 360 to 670 px
SHEET_PHOTOS = 6

NEXT = """
Everything lies under {out}:
  cache/               teacher embeddings in webdataset shards, manifest.jsonl
  repvit_m0_6/         the student: encoder.safetensors, decoder.safetensors, metrics.jsonl, TensorBoard events
  tiny_vit/            MobileSAM's architecture under the same budget
  results.jsonl        every number of the table; table.md the table; masks.png the masks side by side

The teacher here is a small stand-in. With a real SAM checkpoint the same commands do the real job:
  repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b --set teacher.model=sam_vit_h_4b8939.pth
  repvit-sam distill    --config distill_repvit_m2_3_sa1b_8gpu --set teacher.model=sam_vit_h_4b8939.pth --num-processes 8
  repvit-sam eval       -m teacher=sam_vit_h_4b8939.pth -m ours=runs/repvit_m2_3_sa1b --reference teacher -s box -s point \\
                        --data instances_val2017.json --images val2017
"""


def run(*, out: Path) -> None:
    """Precompute, distil two students, evaluate all, print the table, draw the contact sheet.

    Run it again to continue where it stopped.

    Args:
        out: folder of all that is made.
    """
    started = time.monotonic()
    run_command("precompute", "--config", "quickstart_precompute", "--set", f"out={out / 'cache'}")
    models = {TEACHER: TEACHER}
    for name, arch in STUDENTS.items():
        folder = out / arch
        run_command(
            "distill",
            *("--config", f"quickstart_{arch}"),
            *("--set", f"data.cache={out / 'cache'}"),
            *("--set", f"out={folder}"),
        )
        models[name] = str(folder)
    say(f"evaluating {', '.join(models)} on sample:val")
    results = run_eval(
        models,
        {"suites": SUITES, "clicks": [1], "data": "sample:val", "out": out / "results.jsonl"},
        reference=TEACHER,
        untrained_archs=["repvit_m0_6"],
        baselines=True,
        image_size=IMAGE_SIZE,
    )
    assert results is not None  # only one of several processes has none
    comparison = compare(results)
    comparison.terminal()
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(comparison.markdown())
    predictors = {name: encoders.Predictor(encoders.load(model, image_size=IMAGE_SIZE)) for name, model in models.items()}
    photos = open_dataset(resolve_data("sample:val"))
    sheet = contact_sheet(photos, predictors, out=out / "masks.png", photos=SHEET_PHOTOS)
    print(f"contact sheet: {sheet}\n{time.monotonic() - started:.0f} seconds in all")
    print(NEXT.format(out=out))
