"""The command line: `repvit-sam`, also `python -m distill`.

Help, `models` and the like answer at once: a command's module, and torch with it, is imported when the command is chosen.
"""

import sys
import warnings
from typing import Annotated, Any, ClassVar

import typer

from distill.cli.ending import ends_quietly, flush_output, print_anything
from distill.cli.lazy_group import Entry, LazyGroup
from distill.launching.starter import end_with_starter
from distill.versions import DISTRIBUTION, installed_version
from encoders.errors import InputError, InputWarning, MissingExtra, NonFiniteLoss
from encoders.files import os_error_message
from encoders.messages.shown import shown

COMMANDS = {  # a command's help here is the first paragraph of its own, its modules are files of this folder
    "quickstart": Entry(
        "Run the whole pipeline on the shipped photos: cache a teacher, distil two students, evaluate, compare.", ("train",)
    ),
    "ingest": Entry(
        "Check the photos of a source without a teacher; writes plan.json and quarantine.jsonl. Resumes if interrupted.",
        ("ingest",),
    ),
    "precompute": Entry(
        "Run the teacher over photos and write its embeddings as shards. Resumes if interrupted.",
        ("precompute",),
    ),
    "plan": Entry(
        "Estimate the disk, hours and memory of a precompute or a distillation, and name what limits it. Nothing is written.",
        ("plan",),
    ),
    "cache": Entry("Inspect or verify a cache of teacher embeddings.", ("cache",)),
    "distill": Entry(
        "Train a student with DeepSpeed, as a config describes. Resumes from the last checkpoint if interrupted.", ("train",)
    ),
    "adapt": Entry(
        "Adapt an earlier student to photos of your own, without masks: cache the teacher, train on its masks, measure.",
        ("train",),
    ),
    "eval": Entry(
        "Evaluate models on zero-shot suites, or score result files of other programs.",
        ("eval_group", "eval", "instance", "edges"),
    ),
    "compare": Entry(
        "Compare the results of several models in tables, or on an HTML page. All scores are fractions.",
        ("compare",),
    ),
    "masks": Entry(
        "Segment everything in photos with a grid of points and write one JSON file per photo. Resumes if interrupted.",
        ("masks",),
    ),
    "export": Entry(
        "Export models for other runtimes and tools, and verify that they compute what PyTorch does.",
        ("export_group", "export", "classifier"),
    ),
    "latency": Entry("Time models on this machine, and compare with phones and published latencies.", ("latency",)),
    "lint-device": Entry(
        "Count a model's Core ML operations and bytes, and report what published rules say about the Neural Engine.",
        ("lint",),
    ),
    "models": Entry("List the model names that --model and the config key model.arch accept.", ("about",)),
    "suites": Entry(
        "The suites that `eval --suite` knows, with what each measures and the data it needs.", ("suites",)
    ),
    "configs": Entry("List the shipped configs, or print one of them.", ("configs",)),
    "doctor": Entry("Show the installed packages and the hardware, what is missing, and how to install it.", ("about",)),
}


class Commands(LazyGroup):
    """The commands of `repvit-sam`."""

    entries = COMMANDS
    loaded: ClassVar[dict[str, Any]] = {}


app = typer.Typer(
    name="repvit-sam",
    cls=Commands,
    help="Distil SAM's image encoder into RepViT encoders, and prove the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{DISTRIBUTION} {installed_version(DISTRIBUTION) or '(not installed)'}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    local_rank: Annotated[int, typer.Option("--local_rank", hidden=True)] = 0,
) -> None:
    """Distil SAM's image encoder into RepViT encoders, and prove the result."""
    # --local_rank: the deepspeed launcher puts it before the command; the environment says the same


def _say(text: str) -> None:
    """Print a message to stderr, escaping terminal control and bidirectional characters of untrusted names."""
    print(shown(text, keep="\n"), file=sys.stderr)


def _show(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    """Show our own warnings as notes without the code location, and others as Python does."""
    if issubclass(category, InputWarning):
        _say(f"note: {message}")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main() -> None:
    """Run the command line: 0 on success, 2 on bad input, 1 on failure; errors go to stderr.

    As programs that a signal ends: 141 where the reader of the output has gone, 130 at Ctrl-C.
    """
    end_with_starter()
    print_anything()
    warnings.showwarning = _show
    with ends_quietly():
        try:
            app()
        except (InputError, MissingExtra) as error:
            _say(f"error: {error}")
            sys.exit(2)
        except BrokenPipeError:
            raise
        except OSError as error:  # what reads or writes a file says more where it knows more
            _say(f"error: {os_error_message(error)}")
            sys.exit(2)
        except NonFiniteLoss as error:
            _say(f"error: {error}")
            sys.exit(1)
        finally:
            flush_output()
