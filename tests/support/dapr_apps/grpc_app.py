"""An app of the extension for gRPC: subscriptions, a binding, methods, health."""

import json
import os

from cloudevents.sdk.event import v1
from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, BindingRequest, InvokeMethodRequest, InvokeMethodResponse, Rule

app = App()
heard: list[list[str]] = []


def _hear(kind: str, event: v1.Event) -> str:
    data = event.Data().decode()
    heard.append([kind, event.EventID(), event.Subject() or "", data])
    return data


@app.subscribe(pubsub_name="bus", topic="plain", dead_letter_topic="dead")
def plain(event: v1.Event) -> TopicEventResponse:
    return TopicEventResponse("drop" if "drop" in _hear("plain", event) else "success")


@app.subscribe(pubsub_name="bus", topic="again")
def again(event: v1.Event) -> TopicEventResponse:
    _hear("again", event)
    is_first = sum(each[0] == "again" for each in heard) == 1
    return TopicEventResponse("retry" if is_first else "success")


@app.subscribe(pubsub_name="bus", topic="dead")
def dead(event: v1.Event) -> None:
    _hear("dead", event)


@app.subscribe(pubsub_name="bus", topic="routed", disable_topic_validation=True)
def other(event: v1.Event) -> None:
    _hear("other", event)


@app.subscribe(pubsub_name="bus", topic="routed", rule=Rule('event.type == "special"', 1))
def special(event: v1.Event) -> None:
    _hear("special", event)


@app.binding("tick")
def tick(request: BindingRequest) -> None:
    heard.append(["tick", "", "", request.text()])


@app.method("echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    caller = dict(request.metadata)["dapr-caller-app-id"][0]
    return InvokeMethodResponse(f"{caller}: {request.text()}", "text/plain; charset=UTF-8")


@app.method("heard")
def tell(request: InvokeMethodRequest) -> InvokeMethodResponse:
    return InvokeMethodResponse(json.dumps(heard), "application/json")


app.register_health_check(lambda: None)
app.run(int(os.environ["APP_PORT"]))
