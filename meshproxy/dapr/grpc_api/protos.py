"""Dapr's messages, from the `dapr` package. Owns how they are loaded; knows no call.

Only messages are taken: the packages around them import `grpc`, a server of its own with 25 MB and
threads, which has no place in this process.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from google.protobuf.message_factory import GetMessageClass

SERVICE: Final = "dapr.proto.runtime.v1.Dapr"
VERBS: Final = (
    "NONE",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
)
"""HTTPExtension.Verb, by number."""
_PARENTS: Final = (
    "dapr.proto",
    "dapr.proto.common",
    "dapr.proto.common.v1",
    "dapr.proto.runtime",
    "dapr.proto.runtime.v1",
)


def _load(name: str) -> Any:
    """A module of messages, while empty packages stand where its own would import `grpc`."""
    root = Path(next(iter(importlib.import_module("dapr").__path__)))
    added = [parent for parent in _PARENTS if parent not in sys.modules]
    for parent in added:
        package = ModuleType(parent)
        package.__path__ = [str(root.joinpath(*parent.split(".")[1:]))]
        sys.modules[parent] = package
    try:
        return importlib.import_module(name)
    finally:
        for parent in added:
            del sys.modules[parent]


_SERVICES: Final = {
    **_load("dapr.proto.runtime.v1.dapr_pb2").DESCRIPTOR.services_by_name,
    **_load("dapr.proto.runtime.v1.appcallback_pb2").DESCRIPTOR.services_by_name,
}


def classes(method: str, service: str = "Dapr") -> tuple[type[Any], type[Any]]:
    """The messages of a call: of its request and its response. KeyError for an unknown call."""
    found = _SERVICES[service].methods_by_name[method]
    return GetMessageClass(found.input_type), GetMessageClass(found.output_type)


def dapr_files() -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The descriptors of Dapr's files and of all that they import: by name, and in order."""
    found: dict[str, Any] = {}
    waiting = [service.file for service in _SERVICES.values()]
    while waiting:
        file = waiting.pop()
        if file.name not in found:
            found[file.name] = file
            waiting += file.dependencies
    return found, tuple(found.values())
