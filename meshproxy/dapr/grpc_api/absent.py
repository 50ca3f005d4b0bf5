"""The calls of building blocks that are not here: answered as by a daprd without the component.

Owns those answers. A building block that comes takes its lines away from here. What daprd v1.18
does not have either is not listed, and so UNIMPLEMENTED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import ApiError, Grpc, error_info
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import Method, method, stream_method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


def _absent(code: str, text: str, grpc: Grpc, *names: str) -> tuple[Method, ...]:
    async def refuse(api: Api, request: Any) -> None:
        name = getattr(request, "name", "")
        raise ApiError(code, text.format(name=name), 500, grpc, (error_info(code, {}),))

    return tuple(method(name, refuse) for name in names)


async def _no_crypto(api: Api, stream: MessageStream) -> None:
    raise ApiError(_NO_CRYPTO, _CRYPTO_TEXT, 500, Grpc.INTERNAL, (error_info(_NO_CRYPTO, {}),))


_NO_CRYPTO: Final = "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"
_CRYPTO_TEXT: Final = "crypto providers not configured"
_NO_PLACEMENT: Final = ("ERR_ACTOR_NO_PLACEMENT", "placement is not configured", Grpc.INTERNAL)
_NO_SCHEDULER: Final = ("scheduler is not configured", Grpc.INTERNAL)
_NO_WORKFLOWS: Final = ("workflow runtime is not configured", Grpc.INTERNAL)
_NO_CONVERSATION: Final = (
    "ERR_CONVERSATION_NOT_FOUND",
    "failed finding conversation component {name}",
    Grpc.INVALID_ARGUMENT,
)

METHODS: Final = (
    *_absent(
        *_NO_PLACEMENT,
        "RegisterActorTimer",
        "UnregisterActorTimer",
        "RegisterActorReminder",
        "UnregisterActorReminder",
        "GetActorReminder",
        "GetActorState",
        "ExecuteActorStateTransaction",
        "InvokeActor",
    ),
    *_absent("DAPR_SCHEDULER_SCHEDULE_JOB", *_NO_SCHEDULER, "ScheduleJob", "ScheduleJobAlpha1"),
    *_absent("DAPR_SCHEDULER_GET_JOB", *_NO_SCHEDULER, "GetJob", "GetJobAlpha1"),
    *_absent("DAPR_SCHEDULER_DELETE_JOB", *_NO_SCHEDULER, "DeleteJob", "DeleteJobAlpha1"),
    *(
        each
        for version in ("Alpha1", "Beta1")
        for verb in ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")
        for each in _absent(
            f"ERR_{'RAISE_EVENT' if verb == 'RaiseEvent' else verb.upper()}_WORKFLOW",
            *_NO_WORKFLOWS,
            f"{verb}Workflow{version}",
        )
    ),
    *_absent(*_NO_CONVERSATION, "ConverseAlpha1", "ConverseAlpha2"),
    *_absent(
        _NO_CRYPTO,
        _CRYPTO_TEXT,
        Grpc.INTERNAL,
        "SubtleGetKeyAlpha1",
        "SubtleEncryptAlpha1",
        "SubtleDecryptAlpha1",
        "SubtleWrapKeyAlpha1",
        "SubtleUnwrapKeyAlpha1",
        "SubtleSignAlpha1",
        "SubtleVerifyAlpha1",
    ),
    stream_method("EncryptAlpha1", _no_crypto),
    stream_method("DecryptAlpha1", _no_crypto),
)
