"""Run configuration: one YAML file per run, with every key validated."""
