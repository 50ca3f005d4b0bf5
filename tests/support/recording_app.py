"""An app that writes down the id of every event before it answers: `PORT FILE BULK` as arguments.

What stands in the file was taken, whatever becomes of the process then.
"""

import json
import os
import sys
from pathlib import Path

from aiohttp import web

from tests.support.server_process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]


class RecordingApp(ServerProcess):
    """The process, for tests; `taken` are the ids that it has written so far."""

    name = "app"

    def __init__(self, *, bulk: bool) -> None:
        super().__init__()
        self._bulk = bulk
        self._file = self.folder / "taken"
        self._file.touch()

    def argv(self) -> list[str]:
        flags = [str(self.port), str(self._file), "bulk" if self._bulk else ""]
        return [sys.executable, "-m", "tests.support.recording_app", *flags]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    @property
    def taken(self) -> list[str]:
        return self._file.read_text().split()


def main() -> None:
    port, file, bulk = sys.argv[1:]
    log = os.open(file, os.O_WRONLY | os.O_APPEND)
    subscription = {"pubsubname": "bus", "topic": "orders", "route": "/orders"}
    if bulk:
        subscription |= {
            "bulkSubscribe": {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 20}
        }

    async def subscribe(request: web.Request) -> web.Response:
        return web.json_response([subscription])

    async def orders(request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        if not bulk:
            os.write(log, f"{document['id']}\n".encode())
            return web.Response()
        entries = document["entries"]
        os.write(log, "".join(f"{each['event']['id']}\n" for each in entries).encode())
        statuses = [{"entryId": each["entryId"], "status": "SUCCESS"} for each in entries]
        return web.json_response({"statuses": statuses})

    app = web.Application(client_max_size=2**24)
    app.router.add_get("/dapr/subscribe", subscribe)
    app.router.add_post("/orders", orders)
    web.run_app(app, host="127.0.0.1", port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
