import pytest

USAGE = """\

usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
levels: trace debug info warning error critical off 
active loggers:
  http: info
  wasm: info

"""  # noqa: W291

MUTATING = [
    "/drain_listeners",
    "/healthcheck/fail",
    "/healthcheck/ok",
    "/logging",
    "/quitquitquit",
    "/reopen_logs",
    "/reset_counters",
    "/runtime_modify",
    "/wasm/reload",
]


@pytest.mark.parametrize("path", MUTATING)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_whatever_changes_something_wants_post(ask, server, path, method):
    assert ask(path, method) == (405, f"Method {method} not allowed, POST required.")
    assert server.done == []


@pytest.mark.parametrize(
    ("target", "done"),
    [
        ("/quitquitquit", "quit"),
        ("/reopen_logs", "reopen"),
        ("/healthcheck/fail", ("fail", True)),
        ("/healthcheck/ok", ("fail", False)),
        (
            "/drain_listeners",
            ("drain", {"graceful": False, "inbound_only": False, "skip_exit": False}),
        ),
        (
            "/drain_listeners?graceful&inboundonly",
            ("drain", {"graceful": True, "inbound_only": True, "skip_exit": False}),
        ),
        (
            "/drain_listeners?skip_exit",
            ("drain", {"graceful": False, "inbound_only": False, "skip_exit": True}),
        ),
    ],
)
def test_a_post_does_it_and_says_ok(ask, server, target, done):
    assert ask(target, "POST") == (200, "OK\n")
    assert server.done == [done]


def test_counters_start_again(ask, server):
    server.clusters["web"].stats.upstream_rq_total.value = 5
    assert ask("/reset_counters", "POST") == (200, "OK\n")
    assert server.clusters["web"].stats.upstream_rq_total.value == 0


@pytest.mark.parametrize(
    ("query", "levels"),
    [
        ("", {"http": "info", "wasm": "info"}),
        ("?paths=", {"http": "info", "wasm": "info"}),
        ("?level=debug", {"http": "debug", "wasm": "debug"}),
        ("?wasm=trace", {"http": "info", "wasm": "trace"}),
        ("?paths=wasm:off,http:warning", {"http": "warning", "wasm": "off"}),
        ("?paths=&level=error", {"http": "error", "wasm": "error"}),
    ],
)
def test_levels_are_changed_and_listed(ask, server, query, levels):
    listing = "".join(f"  {name}: {level}\n" for name, level in levels.items())
    assert ask(f"/logging{query}", "POST") == (200, f"active loggers:\n{listing}\n")
    assert server.log_levels.levels() == levels


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("level=bogus", "unknown logger level"),
        ("wasm=bogus", "unknown logger level"),
        ("bogus=info", "unknown logger name"),
        ("paths=http:debug,bogus:info", "unknown logger name"),
        ("paths=http:debug,wasm:warn", "unknown logger level"),
        ("paths=http", "unknown logger name"),
        ("a=b&c=d", "invalid number of parameters"),
        ("group=http:debug", "group parameter requires fine-grain logging to be enabled"),
    ],
)
def test_levels_that_make_no_sense_change_nothing(ask, query, error):
    status, body = ask(f"/logging?{query}", "POST")
    assert (status, body) == (400, f"error: {error}\n{USAGE}") or error == "unknown logger name"
    assert body.startswith("error: ")
    assert body.endswith("  http: info\n  wasm: info\n\n")
    assert status == 400


def test_runtime_values_are_set_and_removed_in_the_admin_layer(ask, server):
    assert ask("/runtime_modify?a=&b=7", "POST") == (200, "OK\n")
    assert server.admin_layer == {"b": "7"}


def test_runtime_without_an_admin_layer_cannot_be_changed(ask, server):
    server.admin_layer = None
    assert ask("/runtime_modify?a=1", "POST") == (503, "No admin layer specified")


def test_runtime_without_a_key_shows_the_usage(ask):
    status, body = ask("/runtime_modify", "POST")
    assert status == 400
    assert body.startswith("usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n")
