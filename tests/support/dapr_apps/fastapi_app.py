"""An app of the extension for FastAPI: subscriptions, and a method that other apps invoke."""

import os
from typing import Annotated, Any

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI, Header

app = FastAPI()
dapr = DaprApp(app)
heard: list[list[str]] = []
Event = Annotated[Any, Body()]
Text = Annotated[str, Body()]
Caller = Annotated[str, Header()]


@dapr.subscribe(pubsub="bus", topic="plain", dead_letter_topic="dead")
def plain(event: Event) -> dict[str, str]:
    heard.append(["plain", event["id"], "", str(event["data"])])
    return {"status": "DROP" if "drop" in event["data"] else "SUCCESS"}


@dapr.subscribe(pubsub="bus", topic="again")
def again(event: Event) -> dict[str, str]:
    heard.append(["again", event["id"], "", str(event["data"])])
    is_first = sum(each[0] == "again" for each in heard) == 1
    return {"status": "RETRY" if is_first else "SUCCESS"}


@dapr.subscribe(pubsub="bus", topic="dead", route="/dead-letters")
def dead(event: Event) -> None:
    heard.append(["dead", event["id"], "", str(event["data"])])


@app.post("/tick")
def tick() -> None:
    heard.append(["tick", "", "", ""])


@app.post("/echo")
def echo(body: Text, dapr_caller_app_id: Caller = "") -> str:
    return f"{dapr_caller_app_id}: {body}"


@app.post("/heard")
def tell() -> list[list[str]]:
    return heard


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
