"""The components that most modules of cases start with."""

from typing import Final

STATE: Final = """
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
PUBSUB: Final = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: scoped}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: publishingScopes, value: "app=a,b;other=c"}
  - {name: subscriptionScopes, value: "app=a"}
  - {name: allowedTopics, value: "a,b,c,d"}
  - {name: protectedTopics, value: "d"}
"""
SECRETS: Final = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: secrets}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: "{folder}/resources/secrets.json"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: environment}
spec: {type: secretstores.local.env, version: v1}
"""
SECRETS_FILE: Final = '{"plain": "text", "deep": {"er": {"key": "value"}}, "hidden": "h", "n": 5}'
BINDINGS: Final = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: disk}
spec:
  type: bindings.localstorage
  version: v1
  metadata:
  - {name: rootPath, value: "{folder}/disk"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata:
  - {name: schedule, value: "@every 1h"}
  - {name: direction, value: "input"}
"""
REDIS: Final = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: locks}
spec:
  type: lock.redis
  version: v1
  metadata:
  - {name: redisHost, value: "127.0.0.1:{redis}"}
  - {name: redisDB, value: "{database}"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: settings}
spec:
  type: configuration.redis
  version: v1
  metadata:
  - {name: redisHost, value: "127.0.0.1:{redis}"}
  - {name: redisDB, value: "{database}"}
"""
