"""The page of suites: name, version, what is measured, and the protocol in the words that results carry."""

from collections.abc import Iterator

from markdown_text import code, escaped, table

from eval_zeroshot.suites.about import ABOUT
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS, InstanceProtocol
from eval_zeroshot.suites.detector_boxes.seginw import HQ_SAM
from eval_zeroshot.suites.registry import SUITES

INTRODUCTION = """# Suites and protocols

A result carries the name, the version and the protocol of its suite; a change of any number that a suite gives is another
version. `stated` is what a protocol's authors say or their code does, `inferred` and `ours` what they leave open and is done
here. `repvit-sam suites` prints the table. [A suite of your own](../adding_a_suite.md) is a class and a line.
"""


def suites_page() -> str:
    """A table of all suites, then each with its protocol."""
    overview = table(
        ("suite", "measures", "data"),
        ((f"[{name}](#{name})", escaped(about.measures), escaped(about.data)) for name, about in ABOUT.items()),
    )
    return "\n".join([INTRODUCTION, overview, "", *(section for name in ABOUT for section in _section(name))])


def _section(name: str) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{escaped(ABOUT[name].measures[0].upper() + ABOUT[name].measures[1:])}. Data: {escaped(ABOUT[name].data)}.\n"
    protocols = {f"instance_{key}": protocol for key, protocol in PROTOCOLS.items()} | {"seginw": HQ_SAM}
    suite = SUITES[name].ready
    if suite is not None:
        yield f"Version {code(suite.version)}; {suite.direction} is better.\n"
        yield f"{_list(suite.protocol)}\n"
    elif name in protocols:
        yield from _instance(protocols[name])
    else:
        yield "The protocol of a result names the reference model, by architecture, checksum and image size.\n"


def _instance(protocol: InstanceProtocol) -> Iterator[str]:
    score = "the detector's score times the predicted IoU" if protocol.scores_by_iou else "the detector's score"
    most = "all" if protocol.most_boxes is None else f"the {protocol.most_boxes} best"
    yield f"Version {code(protocol.version)}; higher is better.\n"
    yield f"- Stated: {escaped(protocol.stated)}.\n- Inferred: {escaped(protocol.inferred)}."
    yield f"- Score of a mask: {score}. Boxes of a photo that are used: {most}.\n"


def _list(protocol: str) -> str:
    """A protocol as a list: it is one line of parts that semicolons part, outside of brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(protocol):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and protocol.startswith("; ", place):
            parts.append(protocol[start:place])
            start = place + 2
    return "\n".join(f"- {escaped(part)}" for part in [*parts, protocol[start:]])
