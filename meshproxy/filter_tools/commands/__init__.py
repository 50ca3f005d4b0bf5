"""`meshproxy filter …`: the commands for people who write filters.

Owns the list of commands and what an error looks like on the terminal. What a command does is in
the module of its name; each is imported only when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

COMMANDS: Final = {
    "new": "start a filter: source, build, configuration and a test that passes",
    "inspect": "what a .wasm wants and offers, and whether it can be loaded",
    "test": "send one request through it, with no network",
    "trace": "the same, with every hostcall and callback",
    "bench": "how fast it is, phase by phase",
}
USAGE: Final = "usage: meshproxy filter COMMAND …\n\n" + "\n".join(
    f"  {name:9}{text}" for name, text in COMMANDS.items()
) + "\n\nFor a command: meshproxy filter COMMAND --help"  # fmt: skip


class CommandError(Exception):
    """Why a command cannot do what it was asked for, in words for the terminal."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 1 where something is not as it should be."""
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help"):
        print(USAGE)
        return 0
    if name not in COMMANDS:
        print(f"error: unknown command 'filter {name}'\n{USAGE}", file=sys.stderr)
        return 1
    from meshproxy.filter_tools.commands.arguments import Leave
    from meshproxy.wasm.errors import ModuleError

    command = importlib.import_module(f"meshproxy.filter_tools.commands.{name}")
    try:
        code: int = command.run(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        stop_printing()
        return 1
    except Leave as leave:
        return leave.code
    except (CommandError, ModuleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return code


def stop_printing() -> None:
    """Nobody reads stdout any more: what is still printed, also at the very end, is lost."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
