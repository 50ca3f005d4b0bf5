"""Envoy's YAML to frozen objects: the only floor that sees a proto."""
