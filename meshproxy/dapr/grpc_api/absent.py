"""The calls of building blocks that are not here. Knows their names only.

The errors are `api/absent.py`'s. A building block that comes takes its lines away from here. What
daprd v1.18 does not have either is not listed, and so UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api import absent
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import Method, method, stream_method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


def _always(error: Callable[[], ApiError], *names: str) -> tuple[Method, ...]:
    async def refuse(api: Api, request: Any) -> None:
        raise error()

    return tuple(method(name, refuse) for name in names)


async def _converse(api: Api, request: Any) -> None:
    raise absent.no_conversation(request.name)


async def _encrypt(api: Api, stream: MessageStream) -> None:
    options = await _options(stream)
    for name, value in (
        ("keyName", options.key_name),
        ("keyWrapAlgorithm", options.key_wrap_algorithm),
    ):
        if not value:
            raise _bad(f"missing property '{name}' in the options message")
    raise absent.no_crypto()


async def _decrypt(api: Api, stream: MessageStream) -> None:
    await _options(stream)
    raise absent.no_crypto()


async def _options(stream: MessageStream) -> Any:
    first = await stream.receive()
    if first is None or not first.HasField("options"):
        raise _bad("first message does not contain the required options")
    return first.options


async def _schedule_job(api: Api, request: Any) -> None:
    identity = api.identity
    if not request.HasField("job"):
        raise absent.empty_job(identity, "Job")
    if not request.job.name or "|" in request.job.name:
        raise absent.empty_job(identity, "Name")
    if not request.job.HasField("schedule") and not request.job.HasField("due_time"):
        raise absent.empty_job(identity, "Schedule")
    raise absent.no_scheduler(identity, "SCHEDULE_JOB", "schedule job")


async def _get_job(api: Api, request: Any) -> None:
    if not request.name:
        raise absent.empty_job(api.identity, "Name")
    raise absent.no_scheduler(api.identity, "GET_JOB", "get job")


async def _delete_job(api: Api, request: Any) -> None:
    if not request.name:
        raise absent.empty_job(api.identity, "Name")
    raise absent.no_scheduler(api.identity, "DELETE_JOB", "delete job")


async def _delete_jobs(api: Api, request: Any) -> None:
    raise absent.no_scheduler(api.identity, "DELETE_JOB", "delete job")


async def _list_jobs(api: Api, request: Any) -> None:
    raise absent.no_scheduler(api.identity, "LIST_JOBS", "list jobs")


async def _actor_events(api: Api, stream: MessageStream) -> None:
    text = "actor callback streaming requires a gRPC app channel"
    raise ApiError("ERR_ACTOR_NO_APP_CHANNEL", text, 400, Grpc.FAILED_PRECONDITION)


def _bad(reason: str) -> ApiError:
    text = f"invalid request: {reason}"
    return ApiError("ERR_BAD_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)


METHODS: Final = (
    *_always(
        absent.no_placement,
        "RegisterActorTimer",
        "UnregisterActorTimer",
        "RegisterActorReminder",
        "UnregisterActorReminder",
        "UnregisterActorRemindersByType",
        "GetActorReminder",
        "ListActorReminders",
        "GetActorState",
        "ExecuteActorStateTransaction",
        "InvokeActor",
        *(
            f"{verb}Workflow{version}"
            for version in ("Alpha1", "Beta1")
            for verb in ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")
        ),
    ),
    stream_method("SubscribeActorEventsAlpha1", _actor_events),
    *(method(f"ScheduleJob{version}", _schedule_job) for version in ("", "Alpha1")),
    *(method(f"GetJob{version}", _get_job) for version in ("", "Alpha1")),
    *(method(f"DeleteJob{version}", _delete_job) for version in ("", "Alpha1")),
    *(method(f"DeleteJobsByPrefix{version}", _delete_jobs) for version in ("", "Alpha1")),
    *(method(f"ListJobs{version}", _list_jobs) for version in ("", "Alpha1")),
    method("ConverseAlpha1", _converse),
    method("ConverseAlpha2", _converse),
    *_always(
        absent.not_implemented,
        "SubtleGetKeyAlpha1",
        "SubtleEncryptAlpha1",
        "SubtleDecryptAlpha1",
        "SubtleWrapKeyAlpha1",
        "SubtleUnwrapKeyAlpha1",
        "SubtleSignAlpha1",
        "SubtleVerifyAlpha1",
    ),
    stream_method("EncryptAlpha1", _encrypt),
    stream_method("DecryptAlpha1", _decrypt),
)
