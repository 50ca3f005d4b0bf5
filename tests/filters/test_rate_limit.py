import struct

import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import Request

FILTER = "rate_limit"
LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def test_the_bucket_empties_and_then_429_says_when_to_come_back(running):
    # Tests of one module share the proxy: each has keys of its own.
    for remaining, reset in (("2", "1200"), ("1", "2400"), ("0", "3600")):
        answer = running.ask("/", ("x-api-key", "first"))
        assert answer.status == 200
        limit, left, seconds = (answer.get(name) for name in LIMITS)
        assert (limit, left) == ("3", remaining)
        assert int(reset) - 60 < int(seconds) <= int(reset)  # the clock is the proxy's own
    running.upstream.take_all()
    answer = running.ask("/", ("x-api-key", "first"))
    assert (answer.status, answer.body) == (429, b"too many requests\n")
    assert 1140 < int(answer.get("retry-after")) <= 1200
    assert answer.get("x-ratelimit-remaining") == "0"
    assert running.upstream.take_all() == []


def test_callers_do_not_share_a_bucket(running):
    for _ in range(4):
        refused = running.ask("/", ("x-api-key", "greedy"))
    assert refused.status == 429
    assert running.ask("/", ("x-api-key", "modest")).status == 200


def test_a_request_without_the_header_is_not_limited(running):
    for _ in range(5):
        answer = running.ask("/")
        assert answer.status == 200
        assert [answer.get(name) for name in LIMITS] == [None] * 3


def test_the_address_counts_without_its_port(run):
    proxy = run(("rate_limit", "requests 2\nper 3600"))
    assert [proxy.ask().status for _ in range(3)] == [200, 200, 429]  # three connections


# -- alone, with a clock that is set -----------------------------------------------------------


def ask(plugin, **headers):
    """The status of one request, and the headers of its answer."""
    request = Request(plugin)
    for name, value in headers.items():
        request.request.add(name.replace("_", "-").encode(), value.encode())
    request.headers()
    reply = request.callbacks.reply
    request.answer()
    request.end()
    return reply.status if reply else 200, dict(request.response.pairs)


def test_a_token_comes_back_after_its_time(configure, world):
    plugin = configure("requests 2\nper 10\nkey all")
    assert [ask(plugin)[0] for _ in range(3)] == [200, 200, 429]
    world.dispatcher.advance(4.9)
    assert ask(plugin)[0] == 429
    world.dispatcher.advance(0.2)
    assert [ask(plugin)[0] for _ in range(2)] == [200, 429]
    world.dispatcher.advance(1000)
    assert [ask(plugin)[0] for _ in range(3)] == [200, 200, 429]


def test_a_burst_may_be_larger_than_the_rate(configure, world):
    plugin = configure("requests 1\nper 1\nburst 5\nkey all")
    assert [ask(plugin)[0] for _ in range(6)] == [200] * 5 + [429]
    world.dispatcher.advance(2.01)
    assert [ask(plugin)[0] for _ in range(3)] == [200, 200, 429]


def test_what_is_left_is_told(configure, world):
    plugin = configure("requests 4\nper 8\nkey all")
    ask(plugin)
    _, headers = ask(plugin)
    assert headers[b"x-ratelimit-remaining"] == b"2"
    assert headers[b"x-ratelimit-reset"] == b"4"
    world.dispatcher.advance(3)
    _, headers = ask(plugin)
    assert headers[b"x-ratelimit-remaining"] == b"2"  # one and a half came back, one was used
    assert headers[b"x-ratelimit-reset"] == b"3"


def test_scopes_count_apart_and_plugins_of_one_scope_together(configure):
    one = configure("requests 1\nper 60\nkey all\nscope a")
    same = configure("requests 1\nper 60\nkey  all\nscope a")
    other = configure("requests 1\nper 60\nkey all\nscope b")
    assert [ask(plugin)[0] for plugin in (one, same, other)] == [200, 429, 200]


def test_a_request_counts_again_where_another_worker_was_faster(configure, world):
    plugin = configure("requests 3\nper 60\nkey all")
    shared = world.services.shared_data
    ask(plugin)
    real, stolen = shared.set, []

    def set_late(vm_id, key, value, cas):
        if not stolen:
            stolen.append(key)  # another worker takes a token in between
            known, _ = shared.get(vm_id, key)
            real(vm_id, key, with_one_less(known), 0)
        return real(vm_id, key, value, cas)

    world.services.shared_data.set = set_late
    status, headers = ask(plugin)
    assert stolen
    assert (status, headers[b"x-ratelimit-remaining"]) == (200, b"0")


def with_one_less(record):
    """A record whose one bucket has one token less: 20 s more until it is full."""
    words = list(struct.unpack("<12Q", record))
    [at] = [index for index in range(0, 12, 3) if words[index]]
    words[at + 2] += 20 * 10**9
    return struct.pack("<12Q", *words)


def test_the_number_of_records_is_bounded(configure, world):
    plugin = configure("requests 9\nper 60\nkey header x-tenant")
    keys = set()
    real = world.services.shared_data.set

    def remember(vm_id, key, value, cas):
        keys.add(key)
        assert len(value) == 96
        return real(vm_id, key, value, cas)

    world.services.shared_data.set = remember
    for number in range(2000):
        ask(plugin, x_tenant=f"t{number}")
    assert all(key.startswith(b"rate_limit.default.") and len(key) == 23 for key in keys)
    assert 1000 < len(keys) <= 2000  # 2000 keys in 4096 records: few share one


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "configuration: the line `requests NUMBER` is missing"),
        ("requests 0", "line 1: expected a number from 1 to 1000000 in 'requests 0'"),
        ("requests ten", "expected a number from 1 to 1000000 in"),
        ("requests 1\nper 1000001", "line 2: expected a number from 1 to 1000000 in"),
        ("requests 1\nper 1000000\nburst 1000", "the bucket would take more than ten years"),
        ("key cookie", "expected: key header NAME|address|all, got 'key cookie'"),
        ("key header", "expected: key header NAME|address|all, got 'key header'"),
        ("key address x", "expected: key header NAME|address|all, got"),
        ("scope", "the value is missing in 'scope'"),
        ("limit 1", "unknown first word in 'limit 1'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, lines, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(lines)
    assert complaint in caplog.text
