"""The bootstrap and what stands beside listeners and clusters. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE

FIELDS: Final[dict[str, str]] = {
    "envoy.config.bootstrap.v3.Bootstrap": (
        "node static_resources admin layered_runtime bootstrap_extensions stats_config"
    ),
    "envoy.config.metrics.v3.StatsConfig": "stats_tags use_all_default_tags",
    "envoy.config.metrics.v3.TagSpecifier": "tag_name regex fixed_value",
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": "listeners clusters secrets",
    "envoy.config.bootstrap.v3.Admin": "access_log access_log_path address",
    "envoy.config.bootstrap.v3.LayeredRuntime": "layers",
    "envoy.config.bootstrap.v3.RuntimeLayer": "name static_layer",
    CORE + "Node": "id cluster metadata locality user_agent_name user_agent_version",
    "envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions": "name typed_config",
    CORE + "Locality": "region zone sub_zone",
}
