import pytest

from meshproxy.wasm.errors import ModuleError

FILTER = "request_counter"
PREFIX = "wasmcustom.request_counter."


def counted(running):
    """The counters of the filter that are not zero, without their prefix."""
    counters = running.proxy.counters()
    return {name[len(PREFIX) :]: n for name, n in counters.items() if name.startswith(PREFIX) and n}


def test_requests_are_counted_by_the_longest_prefix(run):
    running = run(("request_counter", "path / site\npath /api/ api"))
    for path in ("/", "/other", "/api/a", "/api/b", "/api/c", "/api"):
        running.get(path)
    assert counted(running) == {"path.site.2xx": 3, "path.api.2xx": 3}


def test_a_path_that_fits_no_class_is_not_counted(run):
    running = run(("request_counter", "path /api/ api"))
    running.get("/other")
    assert counted(running) == {}


def test_without_a_path_line_all_is_one_class(run):
    running = run(("request_counter", None))
    running.get("/x")
    assert counted(running) == {"path.all.2xx": 1}


def test_the_class_of_the_status_is_told_apart(run):
    running = run(("request_counter", "path / site"))
    running.get()
    running.upstream.play = lambda peer, request: peer.send(
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    )
    running.get()
    assert counted(running) == {"path.site.2xx": 1, "path.site.4xx": 1}


def test_values_of_the_header_are_counted(run):
    running = run(("request_counter", "header x-tenant"))
    for tenant in ("acme", "acme", "bolt"):
        running.get("/", ("x-tenant", tenant))
    running.get("/")
    assert counted(running) == {
        "path.all.2xx": 4,
        "header.x-tenant.acme": 2,
        "header.x-tenant.bolt": 1,
    }


def test_the_number_of_values_is_bounded(run):
    running = run(("request_counter", "header x-tenant"))
    for number in range(70):
        running.get("/", ("x-tenant", f"t{number}"))
    running.get("/", ("x-tenant", "v" * 65))
    names = counted(running)
    assert names["header.x-tenant.other"] == 7
    assert len([name for name in names if name.startswith("header.")]) == 65


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("route / x", "line 1: expected path or header, got 'route / x'"),
        ("path /", "expected: path PREFIX CLASS, got 'path /'"),
        ("header", "expected: header NAME, got 'header'"),
        ("header a b", "expected: header NAME, got 'header a b'"),
        ("\n".join(f"path /{n} c{n}" for n in range(33)), "line 33: more than 32 classes:"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, line, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(line)
    assert complaint in caplog.text
