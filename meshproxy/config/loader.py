"""Files of YAML and JSON to a tree of nodes with positions.

Owns the reading of files, their size and encoding, and the parser's errors. Refuses to know the
fields of any message, and what makes a tree too large (`nodes.py`).

Only *events* of the parser are used: libyaml's own composer recurses in C and crashes the process
on deep nesting, and a composed document expands aliases without a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from meshproxy.config import json_events
from meshproxy.config.nodes import (
    TOO_DEEP,
    Composer,
    Mapping,
    Node,
    Scalar,
    Sequence,
    TreeError,
    plain_value,
)
from meshproxy.config.problems import Mark, Problems, Source
from meshproxy.errors import Code, Place

MAX_FILE_SIZE: Final = 16 * 1024 * 1024

_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path, problems: Problems) -> Mapping | None:
    """Read a file: JSON if its name ends in `.json`, else YAML. None if it cannot be used."""
    if path.suffix in {".pb", ".pb_text", ".pbtxt"}:
        text = "protobuf files are not read; use YAML or JSON"
        problems.add(Code.UNREADABLE, text, Place(str(path)))
        return None
    data = _read(path, problems)
    return (
        None if data is None else load_bytes(data, str(path), problems, json=path.suffix == ".json")
    )


def load_documents(path: Path, problems: Problems) -> list[Mapping]:
    """Every document of a YAML file; none where one of them cannot be read.

    Empty ones are left out; so is what is no mapping, which is noted.
    """
    data = _read(path, problems)
    if data is None:
        return []
    if len(data) > MAX_FILE_SIZE:
        problems.add(Code.LIMIT, "the document is larger than 16 MiB", Place(str(path)))
        return []
    source = _decode(data, str(path), problems)
    composers: list[Composer] = []
    if source is None or not _readable(
        source, lambda: _feed_each(source, composers, problems), problems
    ):
        return []
    roots = [each.root for each in composers]
    for root in roots:
        if not isinstance(root, Mapping) and root is not None and not _is_null(root):
            text = "the document is not a mapping of fields"
            problems.add(Code.NOT_A_MAPPING, text, root.mark)
    return [root for root in roots if isinstance(root, Mapping)]


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _read(path: Path, problems: Problems) -> bytes | None:
    """The bytes of a file, one more than is allowed at most; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        problems.add(Code.UNREADABLE, f"cannot be read: {error.strerror}", Place(str(path)))
        return None


def load_bytes(data: bytes, name: str, problems: Problems, *, json: bool = False) -> Mapping | None:
    """Read a document from memory; `name` stands for the file in errors."""
    if len(data) > MAX_FILE_SIZE:
        problems.add(Code.LIMIT, "the document is larger than 16 MiB", Place(name))
        return None
    source = _decode(data, name, problems)
    if source is None:
        return None
    found = len(problems.found)
    root = _compose(source, problems, json=json)
    if len(problems.found) > found and root is None:
        return None
    if isinstance(root, Mapping):
        return root
    if root is None or _is_null(root):
        message = "the document is empty"
    else:
        message = "the document is not a mapping of fields"
    problems.add(
        Code.NOT_A_MAPPING, message, Place(name), expected="the fields of a bootstrap configuration"
    )
    return None


def _decode(data: bytes, name: str, problems: Problems) -> Source | None:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return Source(name, data.decode(encoding))
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problems.add(Code.ENCODING, "the document is not valid UTF-8", Place(name, line, column))
        return None


def _compose(source: Source, problems: Problems, *, json: bool) -> Node | None:
    """The root node, or None with the reason added to `problems`."""
    composer = Composer(problems)

    def feed() -> None:
        if json:
            _feed_json(source, composer)
        else:
            _feed_yaml(source, composer, problems)

    return composer.root if _readable(source, feed, problems) else None


def _readable(source: Source, feed: Callable[[], None], problems: Problems) -> bool:
    """Parse; whether it went well, else with the reason added to `problems`."""
    try:
        feed()
    except TreeError as error:
        problems.add(error.code, error.message, error.mark)
    except json_events.JsonError as error:
        problems.add(Code.SYNTAX, error.message, error.mark)
    except yaml.MarkedYAMLError as error:
        at: Any = error.problem_mark or error.context_mark
        mark = Mark(source, at.line + 1, at.column + 1) if at else Mark(source, 0, 0)
        if "maximum nesting depth" in str(error.problem):
            # libyaml looks ahead for the colon of a key, and so meets its own limit before ours.
            problems.add(Code.LIMIT, TOO_DEEP, mark)
        else:
            problems.add(Code.SYNTAX, _syntax_message(error, mark), mark)
    except yaml.reader.ReaderError as error:
        problems.add(Code.ENCODING, str(error.reason), _offset_mark(source, error))
    else:
        return True
    return False


def _feed_json(source: Source, composer: Composer) -> None:
    for kind, mark, text, value in json_events.parse(source):
        if kind == json_events.SCALAR:
            composer.scalar(mark, text, value)
        elif kind == json_events.END:
            composer.end()
        else:
            composer.start(Mapping(mark) if kind == json_events.START_MAP else Sequence(mark))


def _feed_yaml(source: Source, composer: Composer, problems: Problems) -> None:
    loader = _PARSER(source.text)
    documents = 0
    try:
        while documents < 2 and loader.check_event():
            event: Any = loader.get_event()
            if type(event) is yaml.DocumentStartEvent:
                documents += 1
                if documents == 2:
                    text = "a second document starts here; only one is read from a file"
                    problems.add(Code.SYNTAX, text, _mark(source, event))
            else:
                _feed_event(source, event, composer)
    finally:
        loader.dispose()


def _feed_each(source: Source, composers: list[Composer], problems: Problems) -> None:
    """A composer for every document of a stream."""
    loader = _PARSER(source.text)
    try:
        while loader.check_event():
            event: Any = loader.get_event()
            if type(event) is yaml.DocumentStartEvent:
                composers.append(Composer(problems))
            elif composers:
                _feed_event(source, event, composers[-1])
    finally:
        loader.dispose()


def _feed_event(source: Source, event: Any, composer: Composer) -> None:
    kind = type(event)
    mark = _mark(source, event)
    if kind is yaml.ScalarEvent:
        quoted = bool(event.style) or event.tag == "!"
        value = event.value if quoted else plain_value(event.value)
        composer.scalar(mark, event.value, value, event.tag, event.anchor)
    elif kind is yaml.MappingStartEvent:
        composer.start(Mapping(mark), event.tag, event.anchor)
    elif kind is yaml.SequenceStartEvent:
        composer.start(Sequence(mark), event.tag, event.anchor)
    elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
        composer.end()
    elif kind is yaml.AliasEvent:
        composer.alias(mark, event.anchor)


def _mark(source: Source, event: Any) -> Mark:
    start = event.start_mark
    return Mark(source, start.line + 1, start.column + 1)


def _syntax_message(error: yaml.MarkedYAMLError, mark: Mark) -> str:
    message = error.problem or "not valid YAML"
    if "cannot start any token" in message:
        found = mark.source.line(mark.line)[mark.column - 1 : mark.column]
        if found == "\t":
            return "a tab cannot indent; use blanks"
        return f"{found!r} cannot begin a value; put it in quotes"
    return f"{message} ({error.context})" if error.context else message


def _offset_mark(source: Source, error: yaml.reader.ReaderError) -> Mark:
    before = source.text.encode()[: error.position].decode(errors="replace")
    return Mark(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
