"""Envoy's YAML to frozen objects: the only floor that sees a proto.

Four functions in a row, each of them pure but for the files that a configuration names:

    load_yaml   a file            to a tree of nodes with positions      loader.py
    to_protos   the tree          to messages with their places          protos.py
    check       the messages      against the rules of their protos and the list of what is
                                  supported                              validate.py, support.py
    build       the messages      to a `ServerConfig`                    bootstrap.py

Each adds what it finds to one list of problems, so that all errors come at once.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from meshproxy.config.bootstrap import ServerConfig, build
from meshproxy.config.document import At, merge
from meshproxy.config.http_filter import HttpFilterConfig, RouterConfig
from meshproxy.config.loader import load_bytes, load_yaml
from meshproxy.config.problems import Problems
from meshproxy.config.protos import to_protos
from meshproxy.config.support import check_support, supported_fields
from meshproxy.config.validate import check_rules
from meshproxy.errors import Code, ConfigErrors, Place

__all__ = [
    "HttpFilterConfig",
    "RouterConfig",
    "ServerConfig",
    "build",
    "check",
    "load_config",
    "load_yaml",
    "supported_fields",
    "to_protos",
]

CONFIG_YAML = "--config-yaml"


def load_config(path: str = "", yaml: str = "", *, allow_unsupported: bool = False) -> ServerConfig:
    """The configuration of a file, with the YAML text merged over it as Envoy merges.

    What is valid to Envoy and not supported here is an error; with `allow_unsupported` it is left
    out and is in `warnings`.

    Raises:
        ConfigErrors: with everything that is wrong, in the order of the documents.
    """
    problems = Problems()
    documents = []
    if path:
        documents.append(load_yaml(Path(path), problems))
    if yaml:
        documents.append(load_bytes(yaml.encode(), CONFIG_YAML, problems))
    if not documents:
        text = "no configuration is given; use --config-path or --config-yaml"
        problems.add(Code.UNREADABLE, text, Place("meshproxy"))
    config = None
    messages = [to_protos(document, problems) for document in documents if document is not None]
    if messages and len(messages) == len(documents):
        bootstrap = messages[0]
        for over in messages[1:]:
            merge(bootstrap, over)
        check(bootstrap, problems)
        config = build(bootstrap, problems)
    errors, warnings = problems.split(allow_unsupported=allow_unsupported)
    if errors or config is None:
        raise ConfigErrors(errors)
    return dataclasses.replace(config, warnings=tuple(warnings))


def check(bootstrap: At, problems: Problems) -> None:
    """Note every broken rule and everything that is not supported."""
    check_rules(bootstrap, problems)
    check_support(bootstrap, problems)
