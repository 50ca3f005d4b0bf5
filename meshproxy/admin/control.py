"""Endpoints that change something: log levels, draining, health, counters, runtime, the end.

Owns their parameters and answers. Refuses to do the work: the view does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.admin.endpoint import Answer, Query

if TYPE_CHECKING:
    from meshproxy.admin.view import LogLevels, ServerView

OK: Final = Answer("OK\n")
LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")

_USAGE: Final = """\
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
"""


def logging(view: ServerView, query: Query) -> Answer:
    """Change log levels by `level`, `paths` or `<component>=`, and list them all."""
    levels = view.log_levels
    error = _change_levels(levels, query)
    listing = "active loggers:\n"
    listing += "".join(f"  {name}: {level}\n" for name, level in levels.levels().items())
    if error:
        known = f"levels: {' '.join(LEVELS)} \n"
        return Answer(f"error: {error}\n\n{_USAGE}{known}{listing}\n", 400)
    return Answer(f"{listing}\n")


def _change_levels(levels: LogLevels, query: Query) -> str:
    """Do what the query says; the error where it makes no sense, and then nothing is changed."""
    # The home page's form sends every field, empty or not.
    given = [pair for pair in query.pairs if pair[1]]
    if not given:
        return ""
    if len(given) > 1:
        return "invalid number of parameters"
    name, value = given[0]
    if name == "level":
        if value not in LEVELS:
            return "unknown logger level"
        levels.set_all_levels(value)
        return ""
    if name == "group":
        return "group parameter requires fine-grain logging to be enabled"
    changes = [(name, value)]
    if name == "paths":
        pairs = [part.rpartition(":") for part in value.split(",") if part]
        changes = [(component, level) for component, _, level in pairs]
    known = levels.levels()
    for component, level in changes:
        if level not in LEVELS:
            return "unknown logger level"
        if component not in known:
            return "unknown logger name"
    for component, level in changes:
        levels.set_level(component, level)
    return ""


def quit_server(view: ServerView, query: Query) -> Answer:
    """`/quitquitquit`"""
    view.quit()
    return OK


def drain_listeners(view: ServerView, query: Query) -> Answer:
    """`/drain_listeners`"""
    view.drain_listeners(
        graceful="graceful" in query,
        inbound_only="inboundonly" in query,
        skip_exit="skip_exit" in query,
    )
    return OK


def healthcheck_fail(view: ServerView, query: Query) -> Answer:
    """`/healthcheck/fail`"""
    view.fail_health_checks(True)
    return OK


def healthcheck_ok(view: ServerView, query: Query) -> Answer:
    """`/healthcheck/ok`"""
    view.fail_health_checks(False)
    return OK


def reset_counters(view: ServerView, query: Query) -> Answer:
    """`/reset_counters`"""
    view.store.reset_counters()
    return OK


def reopen_logs(view: ServerView, query: Query) -> Answer:
    """`/reopen_logs`"""
    view.reopen_logs()
    return OK


def runtime_modify(view: ServerView, query: Query) -> Answer:
    """Set keys of the admin layer; an empty value removes one."""
    if not query.pairs:
        return Answer(
            "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
            "       or send the parameters as form values\n"
            "use an empty value to remove a previously added override",
            400,
        )
    layer = view.admin_layer
    if layer is None:
        return Answer("No admin layer specified", 503)
    for key, value in query.pairs:
        if value:
            layer[key] = value
        else:
            layer.pop(key, None)
    return OK
