"""The hostcalls that lead out of the VM: foreign functions, HTTP calls, gRPC.

Owns marshalling only, like `hostcalls.py`. What a call means is a method of the root
(`root_context.py`, `grpc_calls.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshproxy.proxy_wasm import pairs
from meshproxy.proxy_wasm.abi import BAD_ARGUMENT, OK
from meshproxy.proxy_wasm.memory import Memory

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.vm import Vm


class Callouts:
    """The host side of one VM, as far as it leads out."""

    __slots__ = ("memory", "vm")

    memory: Memory

    def __init__(self, vm: Vm) -> None:
        self.vm = vm

    def proxy_call_foreign_function(
        self,
        name_data: int,
        name_size: int,
        arguments_data: int,
        arguments_size: int,
        results_data: int,
        results_size: int,
    ) -> int:
        """A function of the host, by name; the guest need not want its result."""
        memory = self.memory
        name = memory.read(name_data, name_size)
        result = self.vm.context.call_foreign_function(
            name, memory.read(arguments_data, arguments_size)
        )
        if isinstance(result, int):
            return result
        if not results_data or not results_size:
            return OK
        return memory.give(result, results_data, results_size)

    def proxy_http_call(
        self,
        upstream_data: int,
        upstream_size: int,
        headers_data: int,
        headers_size: int,
        body_data: int,
        body_size: int,
        trailers_data: int,
        trailers_size: int,
        timeout: int,
        call_id: int,
    ) -> int:
        """Call a cluster; the answer comes with `proxy_on_http_call_response`."""
        memory = self.memory
        read = memory.read
        upstream = read(upstream_data, upstream_size).decode("utf-8", "replace")
        headers = pairs.decode(read(headers_data, headers_size)) or []
        body = read(body_data, body_size)
        trailers = pairs.decode(read(trailers_data, trailers_size)) or []
        memory.write_u32(call_id, 0)
        token = self.vm.context.root.http_call(upstream, headers, body, trailers, timeout)
        return BAD_ARGUMENT if token is None else memory.write_u32(call_id, token)

    def proxy_grpc_call(
        self,
        upstream_data: int,
        upstream_size: int,
        service_data: int,
        service_size: int,
        method_data: int,
        method_size: int,
        metadata_data: int,
        metadata_size: int,
        message_data: int,
        message_size: int,
        timeout: int,
        call_id: int,
    ) -> int:
        """Call a method; the answer comes with `proxy_on_grpc_receive`, or a close."""
        memory = self.memory
        read = memory.read
        upstream = read(upstream_data, upstream_size)
        path = self._path(service_data, service_size, method_data, method_size)
        metadata = pairs.decode(read(metadata_data, metadata_size)) or []
        message = read(message_data, message_size)
        memory.write_u32(call_id, 0)
        calls = self.vm.context.root.grpc
        status, token = calls.call(upstream, path, metadata, message, timeout)
        return status or memory.write_u32(call_id, token)

    def proxy_grpc_stream(
        self,
        upstream_data: int,
        upstream_size: int,
        service_data: int,
        service_size: int,
        method_data: int,
        method_size: int,
        metadata_data: int,
        metadata_size: int,
        stream_id: int,
    ) -> int:
        """Open a stream of messages in both directions."""
        memory = self.memory
        read = memory.read
        upstream = read(upstream_data, upstream_size)
        path = self._path(service_data, service_size, method_data, method_size)
        metadata = pairs.decode(read(metadata_data, metadata_size)) or []
        memory.write_u32(stream_id, 0)
        status, token = self.vm.context.root.grpc.open(upstream, path, metadata)
        return status or memory.write_u32(stream_id, token)

    def _path(
        self, service_data: int, service_size: int, method_data: int, method_size: int
    ) -> str:
        service = self.memory.read(service_data, service_size).decode("utf-8", "replace")
        method = self.memory.read(method_data, method_size).decode("utf-8", "replace")
        return f"/{service}/{method}"

    def proxy_grpc_send(
        self, stream_id: int, message_data: int, message_size: int, end_stream: int
    ) -> int:
        """One message on a stream."""
        message = self.memory.read(message_data, message_size)
        return self.vm.context.root.grpc.send(stream_id, message, bool(end_stream))

    def proxy_grpc_cancel(self, token: int) -> int:
        """Give a call or a stream up; nothing follows."""
        return self.vm.context.root.grpc.cancel(token)

    def proxy_grpc_close(self, token: int) -> int:
        """No more messages on a stream from here."""
        return self.vm.context.root.grpc.close(token)
