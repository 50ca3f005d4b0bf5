import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support.processes import StartError

FILTER = "header_tag"


def test_rules_change_requests_and_responses(run):
    running = run(
        (
            "header_tag",
            """
            # a comment
            request  set    x-set     one value with blanks
            request  add    x-add     added
            request  remove x-secret
            response set    x-answer  {xds.cluster_name}
            response add    x-route   <{xds.cluster_name}/{request.protocol}>
            """,
        )
    )
    sent = [("x-set", "a"), ("x-set", "b"), ("x-add", "first"), ("x-secret", "s")]
    received, answer = running.get("/", *sent)
    assert received.values("x-set") == ["one value with blanks"]
    assert received.values("x-add") == ["first", "added"]
    assert received.values("x-secret") == []
    assert answer.values("x-answer") == ["app"]
    assert answer.values("x-route") == ["<app/HTTP/1.1>"]


def test_a_rule_with_a_property_that_is_not_set_does_nothing(run):
    running = run(("header_tag", "request set x-a {no.such.property}\nrequest set x-b yes"))
    received, _ = running.get("/", ("x-a", "kept"))
    assert received.values("x-a") == ["kept"]
    assert received.values("x-b") == ["yes"]


def test_a_property_of_the_request_goes_into_a_header(run):
    running = run(("header_tag", "request set x-copy {request.headers.x-tenant}"))
    received, _ = running.get("/", ("x-tenant", "acme"))
    assert received.values("x-copy") == ["acme"]


def test_two_plugins_in_one_vm_have_their_own_rules(run):
    running = run(("header_tag", "request set x-a 1"), ("header_tag", "request set x-b 2"))
    received, _ = running.get()
    assert (received.values("x-a"), received.values("x-b")) == (["1"], ["2"])


def test_headers_larger_than_the_arena_fit(run):
    running = run(("header_tag", "request set x-copy {request.headers.x-large}"))
    received, _ = running.get("/", ("x-large", "v" * 20_000))
    assert received.values("x-copy") == ["v" * 20_000]
    received, _ = running.get("/", ("x-large", "small"))
    assert received.values("x-copy") == ["small"]


def test_without_configuration_nothing_changes(run):
    received, answer = run(("header_tag", None)).get()
    assert answer.status == 200
    assert received.get("x-mesh-filter") is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("query set a b", "line 1: expected request or response, got 'query set a b'"),
        ("request put a b", "expected set, add or remove after the first word of"),
        ("request set", "the name of the header is missing in 'request set'"),
        ("request set a", "the value is missing in 'request set a'"),
        ("request remove a b", "remove takes no value: 'request remove a b'"),
        ("# fine\n\nrequest set a b\nresponse", "line 4: "),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, line, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(line)
    assert complaint in caplog.text


def test_a_line_that_cannot_be_read_stops_the_start(run):
    with pytest.raises(StartError) as caught:
        run((FILTER, "request put a b"))
    assert "line 1: expected set, add or remove after the first word of" in str(caught.value)
