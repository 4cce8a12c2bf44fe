"""Check a saved Core ML program against published rules for phones, and count its operations and bytes; no phone is needed.

The report says which operations the rules name, and how many bytes of parameters and activations the program declares. It does
not say what Core ML fuses, where it runs an operation, how long that takes, or why a model runs out of memory on a device.
"""

from encoders.export.device_lint.report import SAYS, Finding, LintReport, lint_program
from encoders.export.device_lint.rules import RULES, Rule, Source

__all__ = ["RULES", "SAYS", "Finding", "LintReport", "Rule", "Source", "lint_program"]
