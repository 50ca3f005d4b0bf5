"""What a filter did to one request, for people and for programs.

Owns the comparing and the two forms. Refuses to judge: expectations are the command's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from meshproxy.filter_tools.callouts import Callout
from meshproxy.filter_tools.grpc_callouts import GrpcCallout
from meshproxy.filter_tools.logs import LogLine
from meshproxy.filter_tools.messages import Headers, Message, text
from meshproxy.filter_tools.run_record import Run
from meshproxy.filter_tools.table import printable, table

Change = tuple[str, str, str]
"""A sign (`+` added, `-` removed, `~` changed), the name, the value."""
MAX_BODY: Final = 2000
PROXYS_OWN: Final = frozenset({":status", "date", "server"})
"""Headers of an answer that say nothing about the filter which gave it."""


def changes(before: Headers, after: Headers) -> list[Change]:
    """What became of headers: a field with another value is changed, not removed and added."""
    found: list[Change] = []
    names = list(dict.fromkeys(name for name, _ in (*before, *after)))
    for name in names:
        old, new = before.values(name), after.values(name)
        if old == new:
            continue
        if old and new and len(old) == len(new) == 1:
            found.append(("~", name, f"{old[0]} → {new[0]}"))
            continue
        left = list(new)
        for value in old:
            if value in left:
                left.remove(value)
            else:
                found.append(("-", name, value))
        found += [("+", name, value) for value in left]
    return found


def as_text(run: Run) -> Iterator[str]:
    """The report, line by line; what came from the filter is made safe for a terminal."""
    stream = run.stream
    before, after = stream.seen_by_filters
    request = before.headers
    line = f"{request[':method']} {request[':path']}" if request is not None else "not admitted"
    yield f"request   {printable(line)}{_fate(run)}"
    yield from _message(before, stream.upstream)
    yield ""
    answer = stream.downstream
    yield f"response  {_outcome(run)}"
    came = run.stream.upstream_answer
    if came.headers is not None and stream.local_reply is None and answer.headers is not None:
        yield from _message(came, after)
    elif answer.headers is not None:
        own = Message(_without(answer.headers, PROXYS_OWN), answer.body, answer.trailers)
        yield from _message(Message(Headers()), own)
    yield from _part("log", list(log_rows(run.logs)))
    yield from _part("metrics", [(printable(name), str(n)) for name, n in run.metrics.items()])
    calls = [_callout(each) for each in run.callouts]
    calls += [_grpc_callout(each) for each in run.grpc_callouts]
    yield from _part("callouts", calls)
    for trap in run.traps:
        frames = [(f"at {printable(frame)}",) for frame in trap.backtrace]
        yield from _part("trap", [(printable(trap.reason),), *frames])


def log_rows(lines: Sequence[LogLine]) -> Iterator[tuple[str, str]]:
    """Level and text of every line; what follows a line break stands below."""
    for line in lines:
        for number, part in enumerate(line.text.splitlines() or [""]):
            yield ("" if number else line.level), printable(part)


def _fate(run: Run) -> str:
    if run.stream.upstream.headers is not None:
        return f"  to {printable(run.stream.cluster)}"
    if run.paused == "request":
        return "  held back by the filter"
    return "  not sent upstream"


def _outcome(run: Run) -> str:
    answer = run.stream.downstream
    details = printable(run.stream.response_code_details)
    if run.paused == "request":
        return "none"
    if run.paused == "response":
        return "held back by the filter"
    if answer.headers is None:
        return f"none ({details})" if details else "none"
    reset = ", then reset" if answer.reset else ""
    return f"{answer.status}  ({details}{reset})"


def _message(before: Message, after: Message) -> Iterator[str]:
    """What became of a message between two places."""
    if before.headers is not None and after.headers is not None:
        rows = [
            (sign, name, printable(value))
            for sign, name, value in changes(before.headers, after.headers)
        ]
        yield from table(rows)
    if after.headers is not None and before.body != after.body:
        yield from table([("body", f"{len(before.body)} → {len(after.body)} bytes")])
        yield from (f"    {line}" for line in _body_lines(after.body))
    if (before.trailers or None) != (after.trailers or None) and after.headers is not None:
        old, new = before.trailers or Headers(), after.trailers or Headers()
        yield from table(
            [(f"{sign} trailer", name, printable(v)) for sign, name, v in changes(old, new)]
        )


def _without(headers: Headers, names: Collection[str]) -> Headers:
    return Headers((name, value) for name, value in headers if name not in names)


def _body_lines(body: bytes) -> list[str]:
    shown = text(body[:MAX_BODY])
    lines = [printable(line) for line in shown.splitlines()]
    return [*lines, f"… {len(body) - MAX_BODY} more bytes"] if len(body) > MAX_BODY else lines


def _callout(callout: Callout) -> tuple[str, ...]:
    method, path = callout.headers.get(":method", ""), callout.headers.get(":path", "")
    status = callout.answer.status if callout.answer is not None else None
    fate = _how_it_ended(status, callout.cancelled)
    what = printable(f"{method} {path}")
    return printable(callout.upstream), what, _limit(callout.timeout), fate


def _grpc_callout(callout: GrpcCallout) -> tuple[str, ...]:
    sent = len(callout.messages)
    what = printable(f"gRPC {callout.path}") + (f" ({sent} messages)" if sent != 1 else "")
    fate = _how_it_ended(callout.status, callout.cancelled)
    return printable(callout.upstream), what, _limit(callout.timeout), fate


def _how_it_ended(status: int | None, cancelled: bool) -> str:
    if status is not None:
        return str(status)
    return "cancelled" if cancelled else "unanswered"


def _limit(timeout: float) -> str:
    return f"within {timeout:g} s" if timeout else "no timeout"


def _part(title: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield ""
        yield title
        yield from table(rows)


# -- for programs ------------------------------------------------------------------------------


def as_json(run: Run) -> dict[str, Any]:
    """The same as plain data; bodies as text (`body`) or, where they are none, in hexadecimal."""
    before, after = run.stream.seen_by_filters
    return {
        "request": {
            "before": _plain(before), "upstream": _plain(run.stream.upstream),
            "cluster": run.stream.cluster,
        },
        "response": {
            "before": _plain(run.stream.upstream_answer), "after": _plain(after),
            "downstream": _plain(run.stream.downstream),
            "details": run.stream.response_code_details,
            "local_reply": run.stream.local_reply is not None,
        },
        "paused": run.paused,
        "logs": [{"level": line.level, "text": line.text} for line in run.logs],
        "metrics": run.metrics,
        "callouts": [
            {
                "cluster": each.upstream, "headers": list(each.headers), "body": text(each.body),
                "timeout": each.timeout,
                "status": each.answer.status if each.answer is not None else None,
            }
            for each in run.callouts
        ],
        "grpc_callouts": [
            {
                "cluster": each.upstream, "path": each.path, "metadata": list(each.metadata),
                "messages_hex": [message.hex() for message in each.messages],
                "timeout": each.timeout, "status": each.status,
            }
            for each in run.grpc_callouts
        ],
        "traps": [{"reason": trap.reason, "backtrace": trap.backtrace} for trap in run.traps],
    }  # fmt: skip


def _plain(message: Message) -> dict[str, Any] | None:
    if message.headers is None:
        return None
    body: dict[str, Any] = {"body": text(message.body)}
    try:
        message.body.decode()
    except UnicodeDecodeError:
        body = {"body_hex": message.body.hex()}
    return {
        "headers": [list(pair) for pair in message.headers], **body,
        "trailers": [list(pair) for pair in message.trailers or ()],
        "complete": message.complete,
    }  # fmt: skip
