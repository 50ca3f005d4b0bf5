"""An app of the extension for Flask: subscriptions, and a method that other apps invoke."""

import os
from typing import Any

from dapr.ext.flask import DaprApp
from flask import Flask, request

app = Flask(__name__)
dapr = DaprApp(app)
heard: list[list[str]] = []


@dapr.subscribe(pubsub="bus", topic="plain", dead_letter_topic="dead")
def plain() -> dict[str, str]:
    event = request.get_json(force=True)
    heard.append(["plain", event["id"], "", str(event["data"])])
    return {"status": "DROP" if "drop" in event["data"] else "SUCCESS"}


@dapr.subscribe(pubsub="bus", topic="again")
def again() -> dict[str, str]:
    event = request.get_json(force=True)
    heard.append(["again", event["id"], "", str(event["data"])])
    is_first = sum(each[0] == "again" for each in heard) == 1
    return {"status": "RETRY" if is_first else "SUCCESS"}


@dapr.subscribe(pubsub="bus", topic="dead", route="/dead-letters")
def dead() -> dict[str, str]:
    event = request.get_json(force=True)
    heard.append(["dead", event["id"], "", str(event["data"])])
    return {}


@app.post("/tick")
def tick() -> dict[str, str]:
    heard.append(["tick", "", "", ""])
    return {}


@app.post("/echo")
def echo() -> str:
    return f"{request.headers.get('dapr-caller-app-id')}: {request.get_json()}"


@app.post("/heard")
def tell() -> list[Any]:
    return heard


app.run("127.0.0.1", int(os.environ["APP_PORT"]))
