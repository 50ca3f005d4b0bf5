"""State over HTTP: status, headers and error of each verb, and of each wrong request."""

import pytest

from tests.parity_daprd.harness import Setup

SETUP = Setup(
    resources={
        "state.yaml": """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: state.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec:
  type: state.sqlite
  version: v1
  metadata:
  - {name: connectionString, value: "{folder}/state.db"}
"""
    }
)
STORES = ["store", "file"]


@pytest.mark.parametrize("store", STORES)
def test_a_key_is_saved_read_and_deleted(pair, store):
    path = f"/v1.0/state/{store}"
    pair.same_http("save", "POST", path, [{"key": "k", "value": {"a": [1, 2.5, None]}}])
    pair.same_http("get", "GET", f"{path}/k")
    pair.same_http("save text", "PUT", path, [{"key": "k", "value": "text"}])
    pair.same_http("get text", "GET", f"{path}/k")
    pair.same_http("get consistency", "GET", f"{path}/k?consistency=strong")
