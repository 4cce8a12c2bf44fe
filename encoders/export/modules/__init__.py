"""Models as modules that exporters take."""
