"""The calls of building blocks that are not here. Knows their paths only.

The errors are `api/absent.py`'s. A building block that comes takes its lines away from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.api import absent
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.http_api.document import ProtoDocument
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse
from meshproxy.dapr.http_api.table import Endpoint, Operation, endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


def _always(error: Callable[[], ApiError]) -> Operation:
    async def refuse(api: Api, request: HttpRequest) -> HttpResponse:
        raise error()

    return refuse


_ACTOR: Final = _always(absent.no_placement)
_CRYPTO: Final = _always(absent.no_crypto)
_SUBTLE: Final = _always(absent.not_implemented)


async def _actor_with_body(api: Api, request: HttpRequest) -> HttpResponse:
    request.json()
    raise absent.no_placement()


async def _converse(api: Api, request: HttpRequest) -> HttpResponse:
    ProtoDocument(request.body)
    raise absent.no_conversation(request.params["name"])


async def _schedule_job(api: Api, request: HttpRequest) -> HttpResponse:
    identity = api.identity
    job = ProtoDocument(request.body)
    if job.text("name"):
        text = "Set the job name in the url only"
        raise absent.bad_job("DAPR_SCHEDULER_JOB_NAME", text, {"appID": identity.app_id})
    if "|" in request.params["name"]:
        raise absent.empty_job(identity, "Name")
    if not job.has("schedule") and not job.has("dueTime"):
        raise absent.empty_job(identity, "Schedule")
    raise absent.no_scheduler(identity, "SCHEDULE_JOB", "schedule job")


async def _get_job(api: Api, request: HttpRequest) -> HttpResponse:
    raise absent.no_scheduler(api.identity, "GET_JOB", "get job")


async def _delete_job(api: Api, request: HttpRequest) -> HttpResponse:
    raise absent.no_scheduler(api.identity, "DELETE_JOB", "delete job")


def _actors() -> tuple[Endpoint, ...]:
    one = "/v1.0/actors/{type}/{id}"
    reminder, timer = f"{one}/reminders/{{name}}", f"{one}/timers/{{name}}"
    return (
        endpoint("GET POST DELETE PUT", f"{one}/method/{{name}}", _ACTOR, "InvokeActor"),
        endpoint("GET", f"{one}/state/{{name}}", _ACTOR, "GetActorState"),
        endpoint("POST PUT", f"{one}/state", _actor_with_body, "ExecuteActorStateTransaction"),
        endpoint("POST PUT", reminder, _actor_with_body, "RegisterActorReminder"),
        endpoint("GET", reminder, _ACTOR, "GetActorReminder"),
        endpoint("DELETE", reminder, _ACTOR, "UnregisterActorReminder"),
        endpoint("POST PUT", timer, _actor_with_body, "RegisterActorTimer"),
        endpoint("DELETE", timer, _ACTOR, "UnregisterActorTimer"),
    )


def _jobs(version: str) -> tuple[Endpoint, ...]:
    path = f"/{version}/jobs/{{name}}"
    return (
        endpoint("POST", path, _schedule_job, "ScheduleJob"),
        endpoint("GET", path, _get_job, "GetJob"),
        endpoint("DELETE", path, _delete_job, "DeleteJob"),
    )


def _workflows(version: str) -> tuple[Endpoint, ...]:
    one = f"/{version}/workflows/{{component}}/{{name}}"
    verbs = {verb.lower(): verb for verb in ("Start", "Pause", "Resume", "Terminate", "Purge")}
    verbs["raiseEvent/{event}"] = "RaiseEvent"
    return (
        endpoint("GET", one, _ACTOR, "GetWorkflow"),
        *(
            endpoint("POST", f"{one}/{path}", _ACTOR, f"{verb}Workflow")
            for path, verb in verbs.items()
        ),
    )


def _subtle() -> tuple[Endpoint, ...]:
    verbs = ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")
    path = "/v1.0-alpha1/subtlecrypto/{name}"
    return tuple(
        endpoint("POST", f"{path}/{verb.lower()}", _SUBTLE, f"Subtle{verb}") for verb in verbs
    )


ENDPOINTS: Final = (
    endpoint("PUT", "/v1.0-alpha1/crypto/{name}/encrypt", _CRYPTO, "Encrypt"),
    endpoint("PUT", "/v1.0-alpha1/crypto/{name}/decrypt", _CRYPTO, "Decrypt"),
    endpoint("POST", "/v1.0-alpha1/conversation/{name}/converse", _converse, "Converse"),
    endpoint("POST", "/v1.0-alpha2/conversation/{name}/converse", _converse, "Converse"),
    *_subtle(),
    *_actors(),
    *(each for version in ("v1.0", "v1.0-alpha1") for each in _jobs(version)),
    *(each for version in ("v1.0", "v1.0-alpha1", "v1.0-beta1") for each in _workflows(version)),
)
