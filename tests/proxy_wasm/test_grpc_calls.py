"""gRPC calls and streams of a filter: tokens, statuses, and which callback follows what."""

import pytest
from envoy.config.core.v3.grpc_service_pb2 import GrpcService

from meshproxy.proxy_wasm import grpc_calls
from meshproxy.proxy_wasm.grpc_calls import MAX_CALLS
from meshproxy.proxy_wasm.grpc_client import GrpcTarget, read_target
from meshproxy.proxy_wasm.pairs import encode
from tests.support.fake_grpc import FakeGrpcClient
from tests.support.wat_filter import Request, World, filter_text

METADATA = "".join(f"\\x{byte:02x}" for byte in encode([(b"X-Who", b"filter")]))
WHERE = '"{service}"/ "pkg.Greeter"/ "Hello"/'
CALL = f'(call $proxy_grpc_call {WHERE} "{METADATA}"/ "question"/ (i32.const 250) (i32.const 4))'
STREAM = f'(call $proxy_grpc_stream {WHERE} "{METADATA}"/ (i32.const 4))'

# What each callback saw is kept in memory: token and number, then what it read.
CALLBACKS = """
 (func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32)
   (call $note (i32.const 1) (local.get 1) (local.get 2))
   (drop (call $proxy_get_header_map_value (i32.const 4) "x-a"/ (i32.const 64) (i32.const 68))))
 (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
   (call $note (i32.const 2) (local.get 1) (local.get 2))
   (drop (call $proxy_get_buffer_bytes (i32.const 5) (i32.const 0) (i32.const 99)
     (i32.const 72) (i32.const 76))))
 (func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32)
   (call $note (i32.const 3) (local.get 1) (local.get 2))
   (drop (call $proxy_get_header_map_value (i32.const 5) "x-b"/ (i32.const 80) (i32.const 84))))
 (func (export "proxy_on_grpc_close") (param i32 i32 i32)
   (call $note (i32.const 4) (local.get 1) (local.get 2))
   (drop (call $proxy_get_status (i32.const 88) (i32.const 92) (i32.const 96))))
 (global $at (mut i32) (i32.const 1024))
 (func $note (param i32 i32 i32)
   (i32.store (global.get $at) (local.get 0))
   (i32.store offset=4 (global.get $at) (local.get 1))
   (i32.store offset=8 (global.get $at) (local.get 2))
   (global.set $at (i32.add (global.get $at) (i32.const 12))))"""


class Caller:
    """A filter that makes one call in its request headers, and further ones in later phases."""

    def __init__(self, call: str, body: str = "(i32.const 0)", service: str = "up", **settings):
        world = World()
        self.client = world.services.grpc_client = FakeGrpcClient()
        call = call.replace("{service}", service)
        text = filter_text(f"""{CALLBACKS}
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.store (i32.const 0) {call}) (i32.const 0))
          (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (i32.store (i32.const 8) {body}) (i32.const 0))""")
        self.plugin = world.plugin(text, **settings)
        self.request = Request(self.plugin)
        self.request.headers(end_stream=False)

    @property
    def status(self) -> int:
        return self.request.words(0)[0]

    @property
    def token(self) -> int:
        return self.request.words(4)[0]

    def later(self) -> int:
        """The status of the call in the body's callback."""
        self.request.body(b"x")
        return self.request.words(8)[0]

    @property
    def stream(self):
        return self.client.streams[0]

    def notes(self) -> list[tuple[int, int, int]]:
        words = self.request.words(1024, 3 * 8)
        return [tuple(words[at : at + 3]) for at in range(0, 24, 3) if words[at]]


# -- unary calls -------------------------------------------------------------------------------


def test_a_call_sends_one_message_with_its_metadata_and_timeout():
    caller = Caller(CALL)
    assert (caller.status, caller.token) == (0, 5)
    sent = caller.stream.request
    assert (sent.target.cluster, sent.path, sent.timeout) == ("up", "/pkg.Greeter/Hello", 0.25)
    assert list(sent.metadata) == [(b"x-who", b"filter")]
    assert caller.stream.sent == [(b"question", True)]
    assert caller.notes() == []


def test_a_call_that_succeeds_is_one_receive_and_no_close():
    caller = Caller(CALL)
    receiver = caller.stream.receiver
    receiver.on_initial_metadata([(b"x-a", b"1")])
    receiver.on_message(b"answer")
    assert caller.notes() == []
    receiver.on_trailing_metadata([(b"grpc-status", b"0")])
    receiver.on_close(0, "")
    assert caller.notes() == [(2, 5, 6)]
    assert caller.request.text(72) == b"answer"


@pytest.mark.parametrize(("status", "told"), [(14, 14), (0, 13)])
def test_a_call_without_an_answer_is_one_close(status, told):
    caller = Caller(CALL)
    caller.stream.receiver.on_close(status, "no")
    assert caller.notes() == [(4, 5, told)]
    assert caller.request.words(88) == [told]
    assert caller.request.text(92) == b"no"


def test_a_call_that_fails_after_its_message_is_one_close():
    caller = Caller(CALL)
    caller.stream.receiver.on_message(b"answer")
    caller.stream.receiver.on_close(13, "")
    assert caller.notes() == [(4, 5, 13)]


def test_nothing_can_be_sent_on_a_call():
    caller = Caller(CALL, '(call $proxy_grpc_send (i32.load (i32.const 4)) "x"/ (i32.const 0))')
    assert caller.later() == 2
    assert caller.stream.sent == [(b"question", True)]


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_call_that_is_given_up_is_not_heard_of_again(how):
    caller = Caller(CALL, f"(call $proxy_grpc_{how} (i32.load (i32.const 4)))")
    assert caller.later() == 0
    assert caller.stream.events == ["reset"]
    assert caller.later() == 1
    caller.stream.receiver.on_message(b"late")
    caller.stream.receiver.on_close(0, "")
    assert caller.notes() == []


# -- streams -----------------------------------------------------------------------------------


def test_a_stream_tells_everything_as_it_comes():
    caller = Caller(STREAM)
    assert (caller.status, caller.token) == (0, 6)
    assert caller.stream.sent == []
    receiver = caller.stream.receiver
    receiver.on_initial_metadata([(b"x-a", b"1")])
    receiver.on_message(b"one")
    receiver.on_message(b"two")
    receiver.on_trailing_metadata([(b"x-b", b"2"), (b"grpc-status", b"9")])
    receiver.on_close(9, "over")
    assert caller.notes() == [(1, 6, 1), (2, 6, 3), (2, 6, 3), (3, 6, 2), (4, 6, 9)]
    assert [caller.request.text(at) for at in (64, 72, 80, 92)] == [b"1", b"two", b"2", b"over"]


def test_messages_go_out_on_a_stream_until_its_end():
    send = '(call $proxy_grpc_send (i32.load (i32.const 4)) "m"/ (local.get 2))'
    caller = Caller(STREAM, send)
    assert caller.later() == 0
    caller.request.body(b"", end_stream=True)
    assert caller.stream.sent == [(b"m", False), (b"m", True)]
    assert caller.later() == 2
    assert len(caller.stream.sent) == 2


def test_what_waits_for_a_peer_that_takes_nothing_has_a_bound(monkeypatch, caplog):
    monkeypatch.setattr(grpc_calls, "MAX_WAITING", 2)
    send = '(call $proxy_grpc_send (i32.load (i32.const 4)) "m"/ (i32.const 0))'
    caller = Caller(STREAM, send)
    assert [caller.later() for _ in range(4)] == [0, 0, 0, 0]
    caller.stream.paused = True
    assert [caller.later() for _ in range(3)] == [0, 2, 2]
    assert caplog.text.count("no more are taken") == 1
    caller.stream.paused = False
    assert caller.later() == 0
    assert len(caller.stream.sent) == 6


def test_a_stream_that_is_closed_is_still_heard():
    caller = Caller(STREAM, "(call $proxy_grpc_close (i32.load (i32.const 4)))")
    assert caller.later() == 0
    assert caller.later() == 0
    assert caller.stream.events == ["close"]
    caller.stream.receiver.on_close(0, "")
    assert caller.notes() == [(4, 6, 0)]
    assert caller.later() == 1


def test_a_stream_that_is_cancelled_is_not_heard_of_again():
    caller = Caller(STREAM, "(call $proxy_grpc_cancel (i32.load (i32.const 4)))")
    assert caller.later() == 0
    caller.stream.receiver.on_message(b"late")
    assert caller.stream.events == ["reset"]
    assert caller.notes() == []


# -- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", [CALL, STREAM])
def test_an_unknown_cluster_is_a_parse_failure(call):
    caller = Caller(call, service="nobody")
    assert (caller.status, caller.token) == (4, 0)


@pytest.mark.parametrize("call", [CALL, STREAM])
def test_a_stream_that_cannot_be_tried_is_an_internal_failure_and_never_a_callback(call):
    world = World()
    client = world.services.grpc_client = FakeGrpcClient()
    client.dead = True
    text = filter_text(f"""{CALLBACKS}
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 0) {call.replace("{service}", "up")}) (i32.const 0))""")
    request = Request(world.plugin(text))
    request.headers()
    assert request.words(0, 2) == [10, 0]
    assert request.words(1024) == [0]


def test_the_number_of_open_calls_has_a_bound():
    caller = Caller(STREAM)
    root = caller.plugin.vm.context.root
    while root.grpc.open(b"up", "/a/b", [])[0] == 0:
        pass
    assert len(caller.client.streams) == MAX_CALLS
    assert root.grpc.open(b"up", "/a/b", [])[0] == 10
    caller.client.streams[0].receiver.on_close(0, "")
    assert root.grpc.open(b"up", "/a/b", [])[0] == 0


@pytest.mark.parametrize(
    ("hostcall", "wanted"),
    [
        ('(call $proxy_grpc_send (i32.const 10) "x"/ (i32.const 0))', 1),
        ('(call $proxy_grpc_send (i32.const 9) "x"/ (i32.const 0))', 2),
        ("(call $proxy_grpc_cancel (i32.const 9))", 1),
        ("(call $proxy_grpc_cancel (i32.const 10))", 1),
        ("(call $proxy_grpc_cancel (i32.const 8))", 2),
        ("(call $proxy_grpc_close (i32.const 10))", 1),
        ("(call $proxy_grpc_close (i32.const 8))", 2),
    ],
)
def test_a_token_that_was_never_given_has_its_status(hostcall, wanted):
    assert Caller(hostcall).status == wanted


def test_open_calls_end_with_their_root():
    caller = Caller(STREAM)
    caller.request.end()
    caller.plugin.close()
    assert caller.stream.events == ["reset"]


# -- the service argument ----------------------------------------------------------------------


def grpc_service() -> GrpcService:
    service = GrpcService()
    service.envoy_grpc.cluster_name = "up"
    service.envoy_grpc.authority = "greeter"
    service.timeout.FromMilliseconds(1500)
    service.initial_metadata.add(key="X-One", value="1")
    service.initial_metadata.add(key="x-raw", raw_value=b"\xff")
    return service


def test_the_service_is_a_message_or_the_name_of_a_cluster():
    assert read_target(b"up") == GrpcTarget("up")
    found = read_target(grpc_service().SerializeToString())
    metadata = ((b"x-one", b"1"), (b"x-raw", b"\xff"))
    assert found == GrpcTarget("up", "greeter", metadata, 1.5)


@pytest.mark.parametrize(
    "service",
    [
        GrpcService(google_grpc=GrpcService.GoogleGrpc(target_uri="h:1")).SerializeToString(),
        b"\xff",
    ],
)
def test_what_has_no_cluster_has_no_target(service):
    assert read_target(service) is None


def test_metadata_of_the_service_come_first_and_its_timeout_serves_where_a_call_has_none():
    message = "".join(f"\\x{byte:02x}" for byte in grpc_service().SerializeToString())
    sent = Caller(CALL.replace("250", "0"), service=message).stream.request
    assert [name for name, _ in sent.metadata] == [b"x-one", b"x-raw", b"x-who"]
    assert sent.timeout == 1.5
    assert Caller(CALL, service=message).stream.request.timeout == 0.25
