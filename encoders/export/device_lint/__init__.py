"""What can be said of a Core ML program on a phone without the phone: operations, cited rules, bytes.

Counts and rules are read off the saved program. They say which operations published rules name, and how many bytes of
parameters and activations the program declares; they do not say what Core ML fuses, where it runs an operation, how long that
takes, or why a model runs out of memory on a device.
"""

from encoders.export.device_lint.report import SAYS, Finding, LintReport, lint_program
from encoders.export.device_lint.rules import RULES, Rule, Source

__all__ = ["RULES", "SAYS", "Finding", "LintReport", "Rule", "Source", "lint_program"]
