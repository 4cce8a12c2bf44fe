"""Pure functions from masks and numbers to numbers."""
