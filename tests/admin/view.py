"""A server that exists only to be looked at; it remembers what it was told to do."""

from types import SimpleNamespace

from meshproxy.network.address import Address
from meshproxy.server.options import Options
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import Cluster, ClusterConfig
from meshproxy.upstream.host import EndpointConfig, Host, Locality

BOOTSTRAP = {
    "node": {"id": "n1", "cluster": "c1", "locality": {"zone": "z1"}},
    "static_resources": {
        "listeners": [
            {
                "name": "main",
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "hcm",
                                "typed_config": {
                                    "@type": "type.googleapis.com/envoy.extensions.filters.network"
                                    ".http_connection_manager.v3.HttpConnectionManager",
                                    "route_config": {"name": "local", "virtual_hosts": []},
                                },
                            }
                        ]
                    }
                ],
            }
        ],
        "clusters": [
            {
                "name": "web",
                "type": "STATIC",
                "transport_socket": {
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
                        ".UpstreamTlsContext",
                        "common_tls_context": {
                            "tls_certificates": [
                                {
                                    "certificate_chain": {"filename": "/cert.pem"},
                                    "private_key": {"inline_string": "SECRET-1"},
                                    "password": {"inline_bytes": "U0VDUkVU"},
                                }
                            ]
                        },
                    }
                },
            },
            {"name": "dns", "type": "STRICT_DNS"},
        ],
        "secrets": [
            {"name": "api", "generic_secret": {"secret": {"inline_string": "SECRET-2"}}},
            {"name": "map", "generic_secret": {"secrets": {"a": {"inline_string": "SECRET-3"}}}},
        ],
    },
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}},
}


class Levels:
    def __init__(self):
        self.known = {"http": "info", "wasm": "info"}

    def levels(self):
        return self.known

    def set_level(self, component, level):
        self.known[component] = level

    def set_all_levels(self, level):
        self.known = dict.fromkeys(self.known, level)


class FakeServer:
    """A ServerView with two clusters, one listener and one pipe."""

    def __init__(self):
        self.store = Store()
        self.done = []
        self.clusters = {}
        for name, hostname in (("web", ""), ("dns", "localhost")):
            cluster = Cluster(ClusterConfig(name=name), self.store)
            endpoint = EndpointConfig("127.0.0.1", 8080, hostname)
            cluster.set_hosts([Host(Address("127.0.0.1", 8080), endpoint, Locality("r", "z", ""))])
            cluster.finish_initialization()
            self.clusters[name] = cluster
        self.listeners = [
            SimpleNamespace(name="main", local_address=Address("127.0.0.1", 10000)),
            SimpleNamespace(name="uds", local_address=Address.pipe("/run/x.sock")),
        ]
        self.tls_ends = []
        self.options = Options(config_path="x.yaml", component_log_level=(("http", "debug"),))
        self.log_levels = Levels()
        self.bootstrap = BOOTSTRAP
        self.extensions = [
            (
                "envoy.filters.http.router",
                "envoy.filters.http",
                "envoy.extensions.filters.http.router.v3.Router",
            )
        ]
        self.runtime_layers = [("base", {"a": "1", "b": "2"}), ("admin", {"a": "9"})]
        self.admin_layer = self.runtime_layers[1][1]
        self.state = "LIVE"
        self.uptime = 9.7
        self.loaded_at = 1795478228.6004
        self.wasm = None

    def fail_health_checks(self, failed):
        self.done.append(("fail", failed))

    def drain_listeners(self, **how):
        self.done.append(("drain", how))

    def reopen_logs(self):
        self.done.append("reopen")

    def quit(self):
        self.done.append("quit")
