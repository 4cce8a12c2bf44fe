"""What a benchmark found, for people and machines."""

import json
from collections.abc import Mapping
from typing import Any


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one JSON object, or a line a fact."""
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
