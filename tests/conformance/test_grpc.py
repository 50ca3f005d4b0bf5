"""gRPC calls and streams of a filter reach a real server: the same callbacks as in Envoy."""

import pytest
from envoy.config.core.v3.grpc_service_pb2 import GrpcService

from meshproxy.proxy_wasm.pairs import encode
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Both, Plugin, different, request


def text(data: bytes) -> str:
    """Bytes as the probe's programs spell them."""
    return "".join(f"%{byte:02X}" for byte in data)


WHO = text(encode([(b"x-who", b"filter")]))
SERVICE = GrpcService()
SERVICE.envoy_grpc.cluster_name = "grpc"
SERVICE.initial_metadata.add(key="x-who", value="service")
GO_ON = "proxy_set_effective_context|@;proxy_continue_stream|0"
CHANGE = ";".join(
    f"proxy_set_buffer_bytes|5|{change};proxy_get_buffer_bytes|5|0|100"
    for change in ("0|0|>", "100|0|<", "2|2|no", "0|4|", "0|100|all")
)
LOOK = "proxy_get_buffer_bytes|5|0|100;proxy_get_buffer_status|5"
STATUS = "proxy_get_status"
VALUE = "proxy_get_header_map_value|{}"
TOLD = (
    f"grpc_receive_initial_metadata={VALUE.format('4|x-initial')}^grpc_receive={LOOK}^"
    f"grpc_receive_trailing_metadata={VALUE.format('5|x-count')};{VALUE.format('5|grpc-status')}^"
    f"grpc_close={STATUS};{GO_ON}"
)


def call(method: str, metadata: str = WHO, service: str = "grpc", timeout: int = 1000) -> str:
    """A unary call, whose end lets the request go on."""
    start = f"proxy_grpc_call|{service}|pkg.Greeter|{method}|{metadata}|question|{timeout}"
    return (
        f"request_headers={start};return|1^grpc_receive={LOOK};{STATUS};{GO_ON}"
        f"^grpc_close={STATUS};{GO_ON}"
    )


def stream(*commands: str, method: str = "Chat", service: str = "grpc") -> str:
    """A stream: what is done with it at once, and everything that it tells."""
    start = f"proxy_grpc_stream|{service}|pkg.Greeter|{method}|{WHO}"
    return f"request_headers={';'.join([start, *commands])};return|1^{TOLD}"


PROGRAMS = {
    "a call": call("Hello"),
    "a call without metadata": call("Hello", ""),
    "a call of a GrpcService": call("Hello", "", text(SERVICE.SerializeToString())),
    "a call that fails": call("Refuse"),
    "a call of an unknown method": call("Nobody"),
    "a call of an unknown cluster": "request_headers=proxy_grpc_call|nobody|s|m|||9",
    "a call that cannot connect": call("Hello", service="dead"),
    "a call that is cancelled": "request_headers=proxy_grpc_call|grpc|pkg.Greeter|Hello||q|1000;"
    "proxy_grpc_cancel|$;proxy_grpc_cancel|$;proxy_grpc_close|$;proxy_grpc_send|$|x|0",
    "a stream": stream("proxy_grpc_send|$|one|0", "proxy_grpc_send|$|two|1"),
    "a stream that is closed": stream("proxy_grpc_send|$|one|0", "proxy_grpc_close|$"),
    "a stream without messages": stream("proxy_grpc_close|$"),
    "a stream of an unknown method": stream("proxy_grpc_close|$", method="Nobody"),
    "a stream that cannot connect": stream(service="dead"),
    "a stream that is cancelled": "request_headers=proxy_grpc_stream|grpc|pkg.Greeter|Chat|;"
    "proxy_grpc_send|$|x|0;proxy_grpc_cancel|$;proxy_grpc_send|$|x|0;proxy_grpc_close|$",
    "a stream whose answer is changed": stream("proxy_grpc_send|$|one|1").replace(LOOK, CHANGE),
    "a stream that is closed by an answer": "request_headers="
    "proxy_grpc_stream|grpc|pkg.Greeter|Chat|;"
    f"proxy_grpc_send|$|one|0;return|1^{TOLD.replace(LOOK, 'proxy_grpc_close|$')}",
}


@pytest.fixture
def both(pairs: Pairs) -> Both:
    return pairs.of(Plugin())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_call_goes_as_in_envoy(both: Both, name: str):
    seen = both.run(request(PROGRAMS[name]))
    wrong = different(seen)
    assert not wrong, "\n".join(["", *wrong])


def test_a_call_and_a_stream_reach_a_real_server(both: Both):
    """What the comparison shows as equal is also right."""
    side = both.sides["meshproxy"]
    lines = side.run(request(PROGRAMS["a call"])).lines
    assert "probe grpc_receive proxy_get_buffer_bytes(5|0|100) 0 'hello%20question'" in lines
    lines = side.run(request(PROGRAMS["a stream"])).lines
    told = [line for line in lines if "'echo%20" in line or "'2'" in line]
    assert [line.rpartition(" ")[2] for line in told] == [
        "'2'",
        "'echo%20one'",
        "'echo%20two'",
        "'2'",
    ]
    assert "probe grpc_close proxy_get_status() 0 0 ''" in lines


def test_a_call_that_takes_too_long_ends(both: Both):
    seen = both.run(request(call("Nothing", timeout=100)))
    for kind, side in seen.items():
        closes = [line for line in side.lines if line.startswith("probe grpc_close root ")]
        assert len(closes) == 1, kind
        assert closes[0].endswith((" 4", " 14")), kind
    assert seen["envoy"].answer == seen["meshproxy"].answer
