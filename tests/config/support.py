"""Documents for the tests of config/: one that is right, and ways to look at what is wrong."""

from __future__ import annotations

import textwrap

from meshproxy.config import ServerConfig, build, check, load_config, to_protos
from meshproxy.config.document import At
from meshproxy.config.loader import load_bytes
from meshproxy.config.problems import Problems
from meshproxy.errors import ConfigError, ConfigErrors

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
URL = "type.googleapis.com/"

CLUSTER = """\
static_resources:
  clusters:
  - name: app
    connect_timeout: 1s
"""

LISTENER = f"""\
static_resources:
  listeners:
  - name: ingress
    address:
      socket_address: {{address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: manager
        typed_config:
          "@type": {URL}{MANAGER}
          stat_prefix: ingress
          route_config:
            name: r
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: app}}
          http_filters:
          - name: router
            typed_config: {{"@type": {URL}{ROUTER}}}
  clusters:
  - name: app
    connect_timeout: 1s
"""


def cluster_with(lines: str) -> str:
    """CLUSTER with more fields, on line 5 and below, at column 5."""
    return CLUSTER + textwrap.indent(textwrap.dedent(lines).strip("\n"), "    ") + "\n"


def routes(text: str, above: str = "") -> str:
    """LISTENER with these routes (a flow list), and fields above the virtual hosts."""
    old = """\
              routes:
              - match: {prefix: "/"}
                route: {cluster: app}
"""
    assert old in LISTENER
    document = LISTENER.replace(old, f"              routes: {text}\n")
    return document.replace("            name: r\n", f"            name: r\n{above}")


def manager_with(line: str) -> str:
    """LISTENER with one more line of fields in its connection manager."""
    return LISTENER.replace(
        "          stat_prefix: ingress\n", f"          stat_prefix: i\n          {line}\n"
    )


def errors_of(yaml: str, *, allow_unsupported: bool = False) -> tuple[ConfigError, ...]:
    """Everything that is wrong with a document."""
    try:
        load_config(yaml=yaml, allow_unsupported=allow_unsupported)
    except ConfigErrors as error:
        return error.errors
    return ()


def error_of(yaml: str) -> ConfigError:
    """The one thing that is wrong with a document."""
    errors = errors_of(yaml)
    assert len(errors) == 1, "\n".join(map(str, errors)) or "nothing is wrong"
    return errors[0]


def load(yaml: str) -> ServerConfig:
    """A document that is right."""
    return load_config(yaml=yaml)


def messages(yaml: str) -> tuple[At | None, list[ConfigError]]:
    """The walked and checked messages of a document, and what was found; nothing is built."""
    problems = Problems()
    root = load_bytes(yaml.encode(), "test.yaml", problems)
    at = to_protos(root, problems) if root is not None else None
    if at is not None:
        check(at, problems)
    return at, problems.split(allow_unsupported=False)[0]


__all__ = ["build", "check", "cluster_with", "error_of", "errors_of", "load", "messages", "routes"]
