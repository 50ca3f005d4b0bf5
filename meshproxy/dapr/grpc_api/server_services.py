"""What a gRPC server says of itself: reflection (v1 and v1alpha) and health. Not Dapr's own calls.

Owns which services and files are shown: Dapr's API and what its protos import. A call that names an
app by its metadata is the app's: these answer only where nobody else is meant.

Source: grpc/reflection/v1/reflection.proto, grpc/health/v1/health.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import Method, Reply
from meshproxy.dapr.grpc_api.protos import SERVICE, dapr_files
from meshproxy.dapr.pluggable.messages import described
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

_REFLECTION: Final = "ServerReflection"
_VERSIONS: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_HEALTH: Final = "grpc.health.v1.Health"
SERVICES: Final = (SERVICE, _HEALTH, *(f"{each}.{_REFLECTION}" for each in _VERSIONS))

_MESSAGES: Final = described(
    _VERSIONS[0],
    {
        "ServerReflectionRequest": "host=1 s, file_by_filename=3 s, file_containing_symbol=4 s,"
        " file_containing_extension=5 ExtensionRequest, all_extension_numbers_of_type=6 s,"
        " list_services=7 s",
        "ExtensionRequest": "containing_type=1 s, extension_number=2 i",
        "ServerReflectionResponse": "valid_host=1 s, original_request=2 ServerReflectionRequest,"
        " file_descriptor_response=4 FileDescriptorResponse,"
        " all_extension_numbers_response=5 ExtensionNumberResponse,"
        " list_services_response=6 ListServiceResponse, error_response=7 ErrorResponse",
        "FileDescriptorResponse": "file_descriptor_proto=1 *b",
        "ExtensionNumberResponse": "base_type_name=1 s, extension_number=2 *i",
        "ListServiceResponse": "service=1 *ServiceResponse",
        "ServiceResponse": "name=1 s",
        "ErrorResponse": "error_code=1 i, error_message=2 s",
    },
)
_HEALTH_MESSAGES: Final = described(
    "grpc.health.v1", {"HealthCheckRequest": "service=1 s", "HealthCheckResponse": "status=1 i"}
)
_SERVING: Final = 1
_NOT_SERVING: Final = 2


async def _reflect(api: Api, stream: MessageStream) -> None:
    """Each question has one answer, until the client has no more."""
    while (request := await stream.receive()) is not None:
        stream.send(valid_host=request.host, original_request=request, **_answer(request))


def _answer(request: Any) -> dict[str, Any]:
    files, symbols = dapr_files()
    if request.file_by_filename:
        return _files(request.file_by_filename, files.get(request.file_by_filename))
    if request.file_containing_symbol:
        name = request.file_containing_symbol
        return _files(name, next((file for file in symbols if _has(file, name)), None))
    if request.HasField("file_containing_extension"):
        return _missing(request.file_containing_extension.containing_type)
    if request.all_extension_numbers_of_type:
        name = request.all_extension_numbers_of_type
        if not any(_has(file, name) for file in symbols):
            return _missing(name)
        return {"all_extension_numbers_response": {"base_type_name": name}}
    return {"list_services_response": {"service": [{"name": name} for name in sorted(SERVICES)]}}


def _files(name: str, file: Any) -> dict[str, Any]:
    """A file and all that it imports."""
    if file is None:
        return _missing(name)
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            found[each.name] = each.serialized_pb
            waiting += each.dependencies
    return {"file_descriptor_response": {"file_descriptor_proto": list(found.values())}}


def _has(file: Any, symbol: str) -> bool:
    """Whether a file describes a message, an enum, a service, or a call or field of one."""
    prefix = f"{file.package}."
    if not symbol.startswith(prefix):
        return False
    name = symbol[len(prefix) :].partition(".")[0]
    tables = (file.message_types_by_name, file.enum_types_by_name, file.services_by_name)
    return any(name in table for table in tables)


def _missing(name: str) -> dict[str, Any]:
    text = f"{name} is not described here"
    return {"error_response": {"error_code": int(Grpc.NOT_FOUND), "error_message": text}}


async def _check(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    if request.service not in ("", *SERVICES):
        text = f"unknown service {request.service}"
        raise ApiError("ERR_API_UNIMPLEMENTED", text, 404, Grpc.NOT_FOUND)
    try:
        api.sidecar.check_outbound_health()
    except ApiError:
        return Reply({"status": _NOT_SERVING})
    return Reply({"status": _SERVING})


_REFLECT: Final = Method(
    "ServerReflectionInfo",
    _MESSAGES["ServerReflectionRequest"],
    _MESSAGES["ServerReflectionResponse"],
    stream=_reflect,
    foreign=True,
)
_CHECK: Final = Method(
    "Check",
    _HEALTH_MESSAGES["HealthCheckRequest"],
    _HEALTH_MESSAGES["HealthCheckResponse"],
    _check,
    foreign=True,
    public=True,
)

SERVER_SERVICES: Final = {
    f"/{_HEALTH}/{_CHECK.name}": _CHECK,
    **{f"/{each}.{_REFLECTION}/{_REFLECT.name}": _REFLECT for each in _VERSIONS},
}
"""By path. `Watch` of health is not there, which clients take as being well."""
