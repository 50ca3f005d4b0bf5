"""The hostcalls, by their names in the ABI: pointers to bytes, one question to the context, and
back.

Owns marshalling only. What a hostcall means is a method of the context it acts on (`context.py`,
`stream_context.py`). Each takes the unsigned numbers of its signature in `abi.py` and returns a
status; an address outside the guest's memory is a status too (`Refused`), never an exception.

hot: the ones that read a key slice `memory.chars` themselves; a call of `read` is 0.06 us more.
"""

from __future__ import annotations

from typing import Final

from meshproxy.proxy_wasm import pairs
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    EMPTY,
    INTERNAL_FAILURE,
    LOG_LEVELS,
    NOT_FOUND,
    OK,
    PLUGIN_CONFIGURATION,
    STREAM_REQUEST,
    STREAM_RESPONSE,
    U32,
    VM_CONFIGURATION,
)
from meshproxy.proxy_wasm.callouts import Callouts
from meshproxy.proxy_wasm.context import missing_buffer

MAX_PATH: Final = 8192


class Hostcalls(Callouts):
    """The host side of one VM."""

    __slots__ = ()

    # -- log, time, status ---------------------------------------------------------------------

    def proxy_log(self, level: int, message_data: int, message_size: int) -> int:
        """Write a log line."""
        message = self.memory.read(message_data, message_size)
        if level >= len(LOG_LEVELS):
            return BAD_ARGUMENT
        self.vm.context.log(level, message)
        return OK

    def proxy_get_log_level(self, level: int) -> int:
        """The lowest level that is written."""
        return self.memory.write_u32(level, self.vm.context.log_level())

    def proxy_get_status(self, code: int, message_data: int, message_size: int) -> int:
        """How the last call ended."""
        status, message = self.vm.context.root.call_status
        self.memory.write_u32(code, status)
        return self.memory.give(message, message_data, message_size)

    def proxy_get_current_time_nanoseconds(self, time: int) -> int:
        """Unix time."""
        return self.memory.write_u64(time, int(self.vm.services.dispatcher.time() * 1e9))

    def proxy_set_tick_period_milliseconds(self, period: int) -> int:
        """Call `proxy_on_tick` of the root every `period`; 0 stops."""
        return self.vm.context.root.set_tick_period(period)

    # -- properties ----------------------------------------------------------------------------

    def proxy_get_property(
        self, path_data: int, path_size: int, value_data: int, value_size: int
    ) -> int:
        """A fact about stream, connection, node or plugin."""
        memory = self.memory
        if path_size > MAX_PATH:
            return NOT_FOUND
        value = self.vm.context.get_property(memory.read(path_data, path_size))
        if isinstance(value, int):
            return value
        return memory.give(value, value_data, value_size)

    def proxy_set_property(
        self, path_data: int, path_size: int, value_data: int, value_size: int
    ) -> int:
        """Remember a value for the rest of the stream."""
        if path_size > MAX_PATH:
            return BAD_ARGUMENT
        path = self.memory.read(path_data, path_size)
        return self.vm.context.set_property(path, self.memory.read(value_data, value_size))

    # -- stream --------------------------------------------------------------------------------

    def proxy_continue_stream(self, stream_type: int) -> int:
        """Go on where this filter paused."""
        return self.vm.context.continue_stream(stream_type)

    def proxy_close_stream(self, stream_type: int) -> int:
        """Reset the stream."""
        return self.vm.context.close_stream(stream_type)

    def proxy_continue_request(self) -> int:
        """`proxy_continue_stream` of ABI 0.1.0."""
        return self.vm.context.continue_stream(STREAM_REQUEST)

    def proxy_continue_response(self) -> int:
        """`proxy_continue_stream` of ABI 0.1.0."""
        return self.vm.context.continue_stream(STREAM_RESPONSE)

    def proxy_clear_route_cache(self) -> int:
        """Match the route again."""
        return self.vm.context.clear_route_cache()

    def proxy_send_local_response(
        self,
        status: int,
        details_data: int,
        details_size: int,
        body_data: int,
        body_size: int,
        headers_data: int,
        headers_size: int,
        grpc_status: int,
    ) -> int:
        """Answer from here."""
        read = self.memory.read
        details = read(details_data, details_size)
        body = read(body_data, body_size)
        headers = pairs.decode(read(headers_data, headers_size)) or []
        grpc = None if grpc_status == U32 else grpc_status
        return self.vm.context.send_local_response(status, details, body, headers, grpc)

    def proxy_set_effective_context(self, context_id: int) -> int:
        """Act on another context until the callback returns; 0 is the own one again."""
        vm = self.vm
        if context_id == 0:
            vm.context = vm.current or vm.context
            return OK
        context = vm.contexts.get(context_id)
        if context is None:
            return BAD_ARGUMENT
        vm.context = context
        return OK

    def proxy_done(self) -> int:
        """A root whose `proxy_on_done` answered false has finished."""
        return self.vm.context.root.done()

    # -- header maps ---------------------------------------------------------------------------

    def proxy_get_header_map_value(
        self, map_type: int, key_data: int, key_size: int, value_data: int, value_size: int
    ) -> int:
        """The first value of a name."""
        memory = self.memory
        key = memory.chars[key_data : key_data + key_size]
        if len(key) != key_size:
            key = memory.read_again(key_data, key_size)
        value = self.vm.context.get_header_map_value(map_type, key)
        if isinstance(value, int):
            return value
        return memory.give(value, value_data, value_size)

    def proxy_add_header_map_value(
        self, map_type: int, key_data: int, key_size: int, value_data: int, value_size: int
    ) -> int:
        """One more field."""
        memory = self.memory
        key = memory.chars[key_data : key_data + key_size]
        value = memory.chars[value_data : value_data + value_size]
        if len(key) != key_size or len(value) != value_size:
            key = memory.read_again(key_data, key_size)
            value = memory.read_again(value_data, value_size)
        return self.vm.context.add_header_map_value(map_type, key, value)

    def proxy_replace_header_map_value(
        self, map_type: int, key_data: int, key_size: int, value_data: int, value_size: int
    ) -> int:
        """Exactly this value for a name."""
        memory = self.memory
        key = memory.chars[key_data : key_data + key_size]
        value = memory.chars[value_data : value_data + value_size]
        if len(key) != key_size or len(value) != value_size:
            key = memory.read_again(key_data, key_size)
            value = memory.read_again(value_data, value_size)
        return self.vm.context.replace_header_map_value(map_type, key, value)

    def proxy_remove_header_map_value(self, map_type: int, key_data: int, key_size: int) -> int:
        """No value for a name."""
        key = self.memory.read(key_data, key_size)
        return self.vm.context.remove_header_map_value(map_type, key)

    def proxy_get_header_map_pairs(self, map_type: int, map_data: int, map_size: int) -> int:
        """The whole map."""
        encoded = self.vm.context.get_header_map_pairs(map_type)
        if encoded is None:
            return BAD_ARGUMENT
        return self.memory.give(encoded, map_data, map_size)

    def proxy_set_header_map_pairs(self, map_type: int, map_data: int, map_size: int) -> int:
        """Another whole map; what is no map is an empty one."""
        new = pairs.decode(self.memory.read(map_data, map_size))
        return self.vm.context.set_header_map_pairs(map_type, new or [])

    def proxy_get_header_map_size(self, map_type: int, size: int) -> int:
        """The bytes of all names and values."""
        found = self.vm.context.get_header_map_size(map_type)
        return BAD_ARGUMENT if found is None else self.memory.write_u32(size, found)

    # -- buffers -------------------------------------------------------------------------------

    def proxy_get_buffer_status(self, buffer_type: int, length: int, flags: int) -> int:
        """The length of a buffer; there are no flags, as in Envoy."""
        buffer = self.vm.context.buffer(buffer_type)
        if buffer is None:
            return missing_buffer(buffer_type)
        self.memory.write_u32(length, len(buffer))
        return self.memory.write_u32(flags, 0)

    def proxy_get_buffer_bytes(
        self, buffer_type: int, start: int, max_size: int, data: int, size: int
    ) -> int:
        """At most `max_size` bytes from `start`."""
        buffer = self.vm.context.buffer(buffer_type)
        if buffer is None:
            status = missing_buffer(buffer_type)
            return self.memory.give(b"", data, size) if status == OK else status
        whole = buffer if isinstance(buffer, bytes) else buffer.peek()
        if start or max_size < len(whole):
            whole = whole[start : start + max_size]
        return self.memory.give(whole, data, size)

    def proxy_set_buffer_bytes(
        self, buffer_type: int, start: int, size: int, data: int, data_size: int
    ) -> int:
        """Replace `size` bytes from `start`."""
        new = self.memory.read(data, data_size)
        return self.vm.context.set_buffer(buffer_type, start, size, new)

    def proxy_get_configuration(self, configuration_data: int, configuration_size: int) -> int:
        """ABI 0.1.0: the configuration of whatever is being started."""
        context = self.vm.context
        found = context.buffer(PLUGIN_CONFIGURATION)
        if found is None:
            found = context.buffer(VM_CONFIGURATION)
        assert isinstance(found, bytes)
        return self.memory.give(found, configuration_data, configuration_size)

    # -- metrics -------------------------------------------------------------------------------

    def proxy_define_metric(
        self, metric_type: int, name_data: int, name_size: int, metric_id: int
    ) -> int:
        """A new number for a metric."""
        name = self.memory.read(name_data, name_size).decode("utf-8", "replace")
        number = self.vm.metrics.define(metric_type, name)
        return BAD_ARGUMENT if number is None else self.memory.write_u32(metric_id, number)

    def proxy_increment_metric(self, metric_id: int, offset: int) -> int:
        """Add to a metric; `offset` is signed."""
        return self.vm.metrics.increment(metric_id, offset)

    def proxy_record_metric(self, metric_id: int, value: int) -> int:
        """Set or record a metric; `value` is unsigned."""
        return self.vm.metrics.record(metric_id, value & 0xFFFFFFFFFFFFFFFF)

    def proxy_get_metric(self, metric_id: int, value: int) -> int:
        """The value of a counter or a gauge."""
        status, found = self.vm.metrics.get(metric_id)
        return status or self.memory.write_u64(value, found & 0xFFFFFFFFFFFFFFFF)

    # -- shared data and queues ----------------------------------------------------------------

    def proxy_get_shared_data(
        self, key_data: int, key_size: int, value_data: int, value_size: int, cas: int
    ) -> int:
        """A value and its CAS number."""
        vm = self.vm
        found = vm.services.shared_data.get(vm.vm_id, self.memory.read(key_data, key_size))
        if found is None:
            return NOT_FOUND
        self.memory.write_u32(cas, found[1] & U32)
        return self.memory.give(found[0], value_data, value_size)

    def proxy_set_shared_data(
        self, key_data: int, key_size: int, value_data: int, value_size: int, cas: int
    ) -> int:
        """Store a value; no value at all (address and size 0) deletes the key."""
        vm, read = self.vm, self.memory.read
        key = read(key_data, key_size)
        value = read(value_data, value_size) if value_data or value_size else None
        return vm.services.shared_data.set(vm.vm_id, key, value, cas)

    def proxy_register_shared_queue(self, name_data: int, name_size: int, queue_id: int) -> int:
        """Open a queue and be told of its items."""
        vm = self.vm
        name = self.memory.read(name_data, name_size)
        root = vm.context.root
        token = vm.services.shared_queues.register(vm.vm_id, name, root.on_queue_item)
        return INTERNAL_FAILURE if token is None else self.memory.write_u32(queue_id, token)

    def proxy_resolve_shared_queue(
        self, vm_id_data: int, vm_id_size: int, name_data: int, name_size: int, queue_id: int
    ) -> int:
        """Open somebody's queue; without a vm_id one of one's own."""
        vm_id = self.memory.read(vm_id_data, vm_id_size).decode("utf-8", "replace") or self.vm.vm_id
        name = self.memory.read(name_data, name_size)
        token = self.vm.services.shared_queues.resolve(vm_id, name)
        return NOT_FOUND if token is None else self.memory.write_u32(queue_id, token)

    def proxy_enqueue_shared_queue(self, queue_id: int, data: int, size: int) -> int:
        """Append an item."""
        return self.vm.services.shared_queues.enqueue(queue_id, self.memory.read(data, size))

    def proxy_dequeue_shared_queue(self, queue_id: int, data: int, size: int) -> int:
        """Take the oldest item."""
        try:
            item = self.vm.services.shared_queues.dequeue(queue_id)
        except KeyError:
            return NOT_FOUND
        return EMPTY if item is None else self.memory.give(item, data, size)
