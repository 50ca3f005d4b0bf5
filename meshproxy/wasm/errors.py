"""What can go wrong with a module, as values that name the culprit.

Owns the exceptions of the engine. Refuses to decide what happens next: callers have a policy.
"""

from __future__ import annotations


class ModuleError(Exception):
    """A module cannot be loaded, linked or started: `module`, then what it lacks or does."""

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(f"{module}: {reason}")
        self.module = module
        self.reason = reason


class FetchError(ModuleError):
    """A module could not be fetched; it may be later."""


class GuestTrap(Exception):  # the specification's word, as in wasmtime
    """Guest code was stopped: by a trap of its own, by a limit, or by a failing host function.

    `reason` is one line; `backtrace` has one `module!function` per frame, innermost first.
    """

    def __init__(self, reason: str, backtrace: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.backtrace = backtrace

    def __str__(self) -> str:
        if not self.backtrace:
            return self.reason
        return f"{self.reason}\n" + "\n".join(f"    at {frame}" for frame in self.backtrace)


class Refused(Exception):  # a status on its way to the guest, not an error
    """Raised inside a host function to answer the guest with `status` and go on."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
