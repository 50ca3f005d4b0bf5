"""`meshproxy filter inspect FILE`: what a module wants and offers, and whether it can be loaded.

Owns the two formats. What is found is `inspection.py`'s.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

from meshproxy.filter_tools.commands.arguments import Parser, add_file
from meshproxy.filter_tools.inspection import Inspection, inspect_module, verdict
from meshproxy.filter_tools.table import amount, duration, printable, table
from meshproxy.wasm.code_source import LocalFile

DESCRIPTION = """\
Looks into a module without running it. Exits 1 where it could not be loaded."""


def run(arguments: Sequence[str]) -> int:
    """Print what there is to say. Raises ModuleError where the file is no module."""
    parser = Parser("inspect", DESCRIPTION)
    add_file(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(list(arguments))
    found = inspect_module(LocalFile(options.file).load(), options.file)
    if options.format == "json":
        print(json.dumps({**dataclasses.asdict(found), "loadable": not found.problems}, indent=2))
    else:
        print("\n".join(as_text(found)))
    return int(bool(found.problems))


def as_text(found: Inspection) -> Iterator[str]:
    """The report, line by line. Names come from the module: they are made safe for a terminal."""
    yield printable(found.file)
    yield from table(_facts(found))
    yield from _part("imports", [
        (printable(item.name), item.type, _answer(item.answered_by, item.vendor))
        for item in found.imports
    ])  # fmt: skip
    yield from _part("callbacks", [
        (item.name, item.type, item.problem and "does not fit") for item in found.callbacks
    ])  # fmt: skip
    yield from _part("other exports", [(printable(name),) for name in found.other_exports])
    yield from _part("sections", [(printable(item.name), f"{item.size:,}".rjust(10))
                                  for item in found.sections])  # fmt: skip
    yield from _part("notes", [(printable(note),) for note in found.notes])
    yield ""
    yield f"{printable(found.file)} {verdict(found) if not found.problems else 'cannot be loaded:'}"
    for problem in found.problems:
        yield f"  {printable(problem)}"


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "ABI", found.abi or "none"
    yield "size", f"{amount(found.size)}, {amount(found.native_size)} compiled"
    yield "compiled in", duration(found.compile_seconds)
    yield "sha256", found.sha256
    for producer in found.producers:
        yield "made with", printable(producer)
    yield "allocator", found.allocator or "none"
    yield "started by", ", ".join(found.start) or "nothing"
    if found.memory is None:
        yield "memory", "none"
    else:
        pages, most = found.memory
        limit = "no maximum" if most is None else f"at most {amount(most * 65536)}"
        yield "memory", f"{amount(pages * 65536)}, {limit}"


def _answer(answered_by: str, vendor: str) -> str:
    whose = f" ({vendor})" if vendor else ""
    return (answered_by or "missing") + whose


def _part(title: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield ""
        yield title
        yield from table(rows)
