"""Operator endpoints: Envoy's admin interface over a view of the server."""
