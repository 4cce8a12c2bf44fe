"""A run is one YAML file, checked key by key."""
