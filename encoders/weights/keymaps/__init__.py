"""Key maps between our weight names and the original projects', one table per source, used in both directions."""

from encoders.weights.keymaps.identify import identify
from encoders.weights.keymaps.strict import check_state
from encoders.weights.keymaps.table import KeyTable, decoder_key, key_table

__all__ = ["KeyTable", "check_state", "decoder_key", "identify", "key_table"]
