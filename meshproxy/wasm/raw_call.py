"""Raw calls into and out of Wasm: the one file with ctypes in it.

Owns the pointers: argument blocks, traps, the address of a linear memory. Refuses to know any guest
ABI, and to hand out an address: callers get functions of ints and a window of bytes.

hot: `Func.__call__` of wasmtime-py costs 32 us and its callback trampoline 10 us, because both
build typed values per call. Here a call in costs 0.3 us and a call out 0.1 us. What that rests on:

* a raw value is 16 bytes, an i32 is its first four, little endian (asserted below);
* `wasmtime_func_call_unchecked` checks no types, so `Gate.bind` checks them once;
* it reports a trap or an error by two owned pointers: both are looked at after every call;
* no argument goes through a ctypes conversion: `byref` objects are made once, and the count is a C
  int, which libffi extends to the full register on x86-64 and AArch64;
* a host function declares no parameters (the caller's registers are ignored); it finds its
  arguments in memory, where the shim of `instance.py` put them. ctypes cannot return a value
  if an exception leaves the callback, so none may: everything is caught and becomes a trap. The
  one gap is an exception from a signal handler at the callback's first instruction, hence a process
  with VMs must not install Python signal handlers that raise (the loop's do not);
* with `memory_may_move` off a memory's base address never changes, so growing only makes a window
  too short, which every access notices.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

from wasmtime import Func, FuncType, Memory, Store, ValType
from wasmtime import _ffi as ffi

from meshproxy.wasm.errors import GuestTrap, Refused
from meshproxy.wasm.signatures import Signature

SLOT: Final = 4
"""u32 words in a raw value."""

assert ctypes.sizeof(ctypes.c_void_p) == 8
assert ctypes.sizeof(ffi.wasmtime_val_raw_t) == SLOT * 4
assert ctypes.sizeof(ffi.wasmtime_func_t) == 16
assert ctypes.sizeof(ffi.wasmtime_memory_t) == 24

# Subscripting makes new function objects: these prototypes do not disturb wasmtime-py's own.
_call = ffi.dll["wasmtime_func_call_unchecked"]
_call.restype = ctypes.c_void_p  # wasmtime_error_t*, None if there was none
_new_function = ffi.dll["wasmtime_func_new_unchecked"]
_new_function.restype = None
_new_function.argtypes = (ctypes.c_void_p,) * 6
_memory_size = ffi.dll["wasmtime_memory_data_size"]
_memory_size.restype = ctypes.c_size_t
_memory_size.argtypes = (ctypes.c_void_p,) * 2
_memory_data = ffi.dll["wasmtime_memory_data"]
_memory_data.restype = ctypes.c_void_p
_memory_data.argtypes = (ctypes.c_void_p,) * 2
_set_epoch_deadline = ffi.dll["wasmtime_context_set_epoch_deadline"]
_set_epoch_deadline.restype = None
_set_epoch_deadline.argtypes = (ctypes.c_void_p, ctypes.c_uint64)

_HostCallback = ctypes.CFUNCTYPE(ctypes.c_size_t)
_I32: Final = str(ValType.i32())

Call = Callable[..., int]
"""A guest function: unsigned ints in, the first result (or 0) out; raises GuestTrap."""


class Gate:
    """The way into and out of one store. Not usable after `close`."""

    __slots__ = ("_address", "_context", "_keep", "_trap", "_trap_word", "pending", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pending: BaseException | None = None  # what a host function raised in the current call
        self._address = ctypes.addressof(store._context().contents)
        self._context = ctypes.byref(ctypes.c_char.from_address(self._address))
        cell = (ctypes.c_uint64 * 1)()
        self._trap = ctypes.byref(cell)
        self._trap_word = memoryview(cell).cast("B").cast("Q")
        self._keep: list[Any] = [cell]

    def close(self) -> None:
        """Free the store with all memories of its instances. Windows into them must be gone."""
        self.store.close()
        self._keep.clear()

    def set_deadline(self, ticks: int) -> None:
        """Interrupt guest code when the engine's epoch has grown by `ticks`."""
        _set_epoch_deadline(self._address, ticks)

    def bind(self, function: Func, signature: Signature) -> Call:
        """The raw call of a guest function, whose parameters and result must all be i32."""
        parameters, results = signature
        if any(value != _I32 for value in (*parameters, *results)):
            raise TypeError("only i32 parameters and results can be called")
        size = max(len(parameters), len(results), 1)
        slots = (ffi.wasmtime_val_raw_t * size)()
        words = memoryview(slots).cast("B").cast("I")
        self._keep += [slots, function]
        block = (ctypes.byref(function._func), ctypes.byref(slots), size)
        return self._caller(len(parameters), words, *block)

    def _caller(self, arity: int, words: memoryview, function: Any, slots: Any, size: int) -> Call:
        # hot: one closure per arity, because *args costs 0.1 us; twelve lines each, all alike.
        call, context, trap, trapped, fail = (
            _call, self._context, self._trap, self._trap_word, self._failure,
        )  # fmt: skip

        def call1(a: int) -> int:
            words[0] = a
            error = call(context, function, slots, size, trap)
            if error or trapped[0]:
                raise fail(error)
            return words[0]

        def call2(a: int, b: int) -> int:
            words[0] = a
            words[4] = b
            error = call(context, function, slots, size, trap)
            if error or trapped[0]:
                raise fail(error)
            return words[0]

        def call3(a: int, b: int, c: int) -> int:
            words[0] = a
            words[4] = b
            words[8] = c
            error = call(context, function, slots, size, trap)
            if error or trapped[0]:
                raise fail(error)
            return words[0]

        def call_any(*values: int) -> int:
            for index, value in enumerate(values):
                words[index * SLOT] = value
            error = call(context, function, slots, size, trap)
            if error or trapped[0]:
                raise fail(error)
            return words[0]

        by_arity: dict[int, Call] = {1: call1, 2: call2, 3: call3}
        return by_arity.get(arity, call_any)

    def _failure(self, error: int | None) -> BaseException:
        """Take and free what the last call left behind; the exception to raise for it."""
        pending, self.pending = self.pending, None
        trap, self._trap_word[0] = self._trap_word[0], 0
        if error:
            found = parse_trap(_take_error(error))
        else:
            found = _take_trap(trap)
        return explain(found, pending)

    def host_function(
        self, signature: FuncType, function: Callable[..., int], read: Any, result: memoryview
    ) -> Func:
        """A function for the guest side of `store` that takes and gives nothing.

        `read()` gives the arguments for `function`, whose answer goes to `result[0]`. `Refused` is
        an answer too; every other exception traps the guest and is raised again by the call that
        entered it.
        """

        def callback() -> int:
            try:
                result[0] = function(*read())
            except Refused as refusal:
                result[0] = refusal.status
            except BaseException as error:
                self.pending = error
                return _new_trap()
            return 0

        pointer = _HostCallback(callback)
        made = ffi.wasmtime_func_t()
        _new_function(
            self._address,
            ctypes.cast(signature.ptr(), ctypes.c_void_p),
            ctypes.cast(pointer, ctypes.c_void_p),
            None,
            None,
            ctypes.byref(made),
        )
        self._keep += [pointer, signature]
        return Func._from_raw(made)


def explain(found: GuestTrap, pending: BaseException | None) -> BaseException:
    """What to raise for a trap, given the exception of the host function that caused it, if any."""
    if pending is None:
        return found
    if not isinstance(pending, Exception):
        return pending  # KeyboardInterrupt, SystemExit: not the guest's business
    if isinstance(pending, GuestTrap):
        # A guest function that a host function called trapped (the allocator): that is the reason.
        return GuestTrap(pending.reason, pending.backtrace + found.backtrace)
    reason = f"host function failed: {type(pending).__name__}: {pending}"
    trap = GuestTrap(reason, found.backtrace)
    trap.__cause__ = pending
    return trap


def _new_trap() -> int:
    text = b"host function failed"
    made = ffi.wasmtime_trap_new(ctypes.create_string_buffer(text), len(text))
    return ctypes.addressof(made.contents)


def _take_trap(address: int) -> GuestTrap:
    pointer = ctypes.cast(address, ctypes.POINTER(ffi.wasm_trap_t))
    message = ffi.wasm_byte_vec_t()
    ffi.wasm_trap_message(pointer, ctypes.byref(message))
    text = ctypes.string_at(message.data, message.size).rstrip(b"\0").decode("utf-8", "replace")
    ffi.wasm_byte_vec_delete(ctypes.byref(message))
    ffi.wasm_trap_delete(pointer)
    return parse_trap(text)


def _take_error(address: int) -> str:
    pointer = ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_error_t))
    message = ffi.wasm_byte_vec_t()
    ffi.wasmtime_error_message(pointer, ctypes.byref(message))
    text = ctypes.string_at(message.data, message.size).decode("utf-8", "replace")
    ffi.wasm_byte_vec_delete(ctypes.byref(message))
    ffi.wasmtime_error_delete(pointer)
    return text


def parse_trap(text: str) -> GuestTrap:
    """wasmtime's report (`error while executing at wasm backtrace:` …) as reason and frames."""
    frames: list[str] = []
    reason: list[str] = []
    in_backtrace = False
    for line in text.splitlines():
        words = line.strip()
        if words.endswith("wasm backtrace:"):
            in_backtrace = True
        elif words == "Caused by:":
            in_backtrace = False
            reason.clear()
        elif words.startswith("note: using the `WASMTIME_BACKTRACE_DETAILS"):
            continue  # an offer to the embedder; not a frame
        elif in_backtrace and words:
            frames.append(
                words.rpartition(" - ")[2] if " - " in words else words.partition(": ")[2]
            )
        elif words:
            reason.append(words.removeprefix("wasm trap: "))
    return GuestTrap(" ".join(reason) or text.strip(), tuple(frames))


class MemoryWindow:
    """The bytes of a guest's linear memory as they are now.

    `chars` reads (`chars[a:b]` is bytes and clips at the end), `view` writes (`view[a:b] = data`
    raises ValueError where it would not fit). Both may be too short after the memory grew:
    `refresh` and try again before believing them.
    """

    __slots__ = ("_address", "_memory", "_store", "chars", "size", "view")

    def __init__(self, gate: Gate, memory: Memory) -> None:
        self._store = gate.store
        self._memory = memory
        self._address = gate._address
        self.size = -1
        self.chars: Any = b""
        self.view = memoryview(bytearray())
        self.refresh()

    def refresh(self) -> bool:
        """Look at the memory's size again; True if it has changed. A closed one has none."""
        if not self._address:
            return False
        memory = ctypes.byref(self._memory._memory)
        size = _memory_size(self._address, memory)
        if size == self.size:
            return False
        base = _memory_data(self._address, memory)
        self.size = size
        self.chars = (ctypes.c_char * size).from_address(base)
        self.view = memoryview(self.chars).cast("B")
        return True

    def close(self) -> None:
        """Forget the memory: it is about to be unmapped."""
        self._address = 0
        self.size = 0
        self.chars = b""
        self.view = memoryview(bytearray())


def function_type(parameters: Sequence[ValType] = (), results: Sequence[ValType] = ()) -> FuncType:
    """A function type, by default of a function that takes and gives nothing."""
    return FuncType(list(parameters), list(results))
