"""Reflection and health without sockets: what is shown, and what is not there."""

import asyncio

import pytest

pytest.importorskip("dapr")

from google.protobuf import descriptor_pb2

from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import Identity
from meshproxy.dapr.grpc_api import perform, perform_stream
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.server_services import SERVER_SERVICES
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.http.header_map import HeaderMap
from tests.dapr.support import run, runtime

REFLECT = SERVER_SERVICES["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
CHECK = SERVER_SERVICES["/grpc.health.v1.Health/Check"]


def ask(**question):
    answers = []

    async def main():
        stream = MessageStream(REFLECT, answers.append)
        stream.feed(REFLECT.request(host="h", **question).SerializeToString())
        stream.finish()
        await perform_stream(Api(Sidecar(Identity("app"), runtime([]))), REFLECT, stream)

    asyncio.run(main())
    answer = REFLECT.response.FromString(answers[0])
    assert answer.valid_host == "h"
    return answer


def names(answer):
    found = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(each).name for each in found]


@pytest.mark.parametrize("question", [{}, {"list_services": "*"}])
def test_the_services_are_listed(question):
    assert [each.name for each in ask(**question).list_services_response.service] == [
        "dapr.proto.runtime.v1.Dapr",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("dapr.proto.runtime.v1.Dapr", "dapr/proto/runtime/v1/dapr.proto"),
        ("dapr.proto.runtime.v1.Dapr.GetState", "dapr/proto/runtime/v1/dapr.proto"),
        ("dapr.proto.common.v1.StateItem", "dapr/proto/common/v1/common.proto"),
    ],
)
def test_a_symbol_brings_its_file_and_all_that_it_imports(symbol, file):
    found = names(ask(file_containing_symbol=symbol))
    assert found[0] == file
    assert "google/protobuf/any.proto" in found
    assert names(ask(file_by_filename=file)) == found


@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "dapr.proto.runtime.v1.None"},
        {"file_containing_symbol": "envoy.config.core.v3.Address"},
        {"file_by_filename": "etc/passwd"},
        {"all_extension_numbers_of_type": "none.Such"},
        {"file_containing_extension": {"containing_type": "a.B", "extension_number": 1}},
    ],
)
def test_what_is_not_described_here_is_not_found(question):
    assert ask(**question).error_response.error_code == Grpc.NOT_FOUND


def test_a_message_has_no_extensions():
    answer = ask(all_extension_numbers_of_type="dapr.proto.common.v1.Etag")
    assert answer.all_extension_numbers_response.base_type_name == "dapr.proto.common.v1.Etag"


def test_health_follows_the_apis():
    async def check(sidecar, service=""):
        message = CHECK.request(service=service).SerializeToString()
        answer, _ = await perform(Api(sidecar), CHECK, message, HeaderMap())
        return CHECK.response.FromString(answer).status

    sidecar = Sidecar(Identity("app"), runtime([]))
    assert run(check(sidecar)) == 2
    sidecar.outbound_ready = True
    assert run(check(sidecar)) == 1
    assert run(check(sidecar, "dapr.proto.runtime.v1.Dapr")) == 1
    with pytest.raises(ApiError) as raised:
        run(check(sidecar, "none"))
    assert raised.value.grpc is Grpc.NOT_FOUND
