"""Writes state by a sidecar's HTTP API and knows what was acknowledged; knows no store."""

import json
import time
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.support.sidecar import Sidecar

_AT_A_TIME = 500  # keys that are read by one call
_PAUSE_S = 0.02  # after a failure, as of a client that does not storm


def resources(folder: Path, name: str, kind: str, version: str = "v1", **metadata: str) -> None:
    """Write a component's file."""
    items = ", ".join(f'{{name: {key}, value: "{value}"}}' for key, value in metadata.items())
    (folder / f"{name}.yaml").write_text(
        f"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: {kind}, version: {version}, metadata: [{items}]}}\n"
    )


class Writer:
    """Writes pairs in transactions, and one key over and over."""

    def __init__(self, sidecar: Sidecar, name: str, store: str = "store") -> None:
        self._name = name
        self._store = store
        self._next = 0
        self.acknowledged = 0
        self.pairs: dict[int, bool] = {}
        self.last = -1
        self.unclear: set[int] = set()
        self.statuses: set[int] = set()
        self.use(sidecar)

    def use(self, sidecar: Sidecar) -> None:
        """Go on by this sidecar."""
        self._connection = HTTPConnection("127.0.0.1", sidecar.port, timeout=30)

    def write(self) -> None:
        """One of each; a status other than 204 leaves it open whether it has happened.

        Raises OSError or HTTPException when the sidecar is gone.
        """
        number, name = self._next, self._name
        self._next += 1
        self.pairs[number] = False
        pair = [{"key": f"{side}{name}-{number}", "value": number} for side in "ab"]
        operations = [{"operation": "upsert", "request": each} for each in pair]
        path = f"/v1.0/state/{self._store}"
        self.pairs[number] = self._post(f"{path}/transaction", {"operations": operations})
        self.unclear.add(number)
        if self._post(path, [{"key": f"c{name}", "value": number}]):
            self.last = number
            self.unclear.clear()

    def write_until_gone(self) -> None:
        """Go on until the sidecar is gone."""
        try:
            while True:
                self.write()
        except (OSError, HTTPException):
            self.close()

    def _post(self, path: str, body: object) -> bool:
        self._connection.request("POST", path, json.dumps(body).encode())
        response = self._connection.getresponse()
        response.read()
        self.statuses.add(response.status)
        if response.status != 204:
            time.sleep(_PAUSE_S)
            return False
        self.acknowledged += 1
        return True

    def close(self) -> None:
        """Write no more, until `use`."""
        self._connection.close()

    def check(self, sidecar: Sidecar) -> None:
        """Everything that was acknowledged is there; pairs are whole."""
        keys = [f"{side}{self._name}-{number}" for number in self.pairs for side in "ab"]
        found = values(sidecar, keys, self._store)
        for number, known in self.pairs.items():
            pair = [found.get(f"{side}{self._name}-{number}") for side in "ab"]
            assert pair in (([number] * 2,) if known else ([number] * 2, [None] * 2))
        if self.last >= 0:
            one = f"c{self._name}"
            assert values(sidecar, [one], self._store)[one] in self.unclear | {self.last}


def values(sidecar: Sidecar, keys: list[str], store: str = "store") -> dict[str, object]:
    """What the store has of these keys."""
    found: dict[str, object] = {}
    for start in range(0, len(keys), _AT_A_TIME):
        body = {"keys": keys[start : start + _AT_A_TIME]}
        answer = sidecar.call("POST", f"/v1.0/state/{store}/bulk", body)
        assert answer.status == 200, answer
        assert not [entry for entry in answer.json if "error" in entry]
        found |= {entry["key"]: entry.get("data") for entry in answer.json}
    return found


def acknowledged(writers: Iterable[Writer]) -> int:
    """Writes of all of them."""
    return sum(writer.acknowledged for writer in writers)
