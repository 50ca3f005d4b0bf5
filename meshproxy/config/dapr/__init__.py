"""Dapr's own YAML kinds to frozen objects, every error with its place.

Owns what may stand in a resource. Refuses to know what is done with it (`meshproxy/dapr/`).
"""

from meshproxy.config.dapr.check import check_resources
from meshproxy.config.dapr.configuration import load_configurations
from meshproxy.config.dapr.resources import Resources, load_resources

__all__ = ["Resources", "check_resources", "load_configurations", "load_resources"]
