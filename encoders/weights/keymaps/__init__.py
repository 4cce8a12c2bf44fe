"""Key maps between our weight names and the original projects', one table per source, used in both directions."""

from encoders.weights.keymaps.identify import identify
from encoders.weights.keymaps.strict import check_state
from encoders.weights.keymaps.table import KeyTable, key_table

__all__ = ["KeyTable", "check_state", "identify", "key_table"]
