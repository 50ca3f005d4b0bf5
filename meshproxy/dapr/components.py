"""THE LIST of components: a component is there if it stands here, and only then.

Standing here enrols it in the conformance tests of its kind (`tests/conformance/`).
"""

from __future__ import annotations

from typing import Final

from meshproxy.dapr.registry import Registry

COMPONENTS: Final = Registry()

COMPONENTS.register("bindings.cron", "bindings.cron:CronBinding")
COMPONENTS.register("bindings.http", "bindings.http:HttpBinding")
COMPONENTS.register("bindings.kafka", "bindings.kafka:KafkaBinding")
COMPONENTS.register("bindings.localstorage", "bindings.localstorage:LocalStorageBinding")
COMPONENTS.register("bindings.postgresql", "bindings.postgresql:PostgresBinding")
COMPONENTS.register("bindings.mqtt3", "bindings.mqtt3:MqttBinding")
COMPONENTS.register("bindings.rabbitmq", "bindings.rabbitmq:RabbitBinding")
COMPONENTS.register("bindings.redis", "bindings.redis:RedisBinding")
COMPONENTS.register(
    "configuration.postgresql", "configuration.postgresql:PostgresConfigurationStore"
)
COMPONENTS.register("configuration.redis", "configuration.redis:RedisConfigurationStore")
COMPONENTS.register("lock.redis", "lock.redis:RedisLock")
COMPONENTS.register("nameresolution.consul", "name_resolution.consul:ConsulNameResolver")
COMPONENTS.register("nameresolution.kubernetes", "name_resolution.kubernetes:KubernetesResolver")
COMPONENTS.register("nameresolution.mdns", "name_resolution.mdns:MdnsNameResolver")
COMPONENTS.register("nameresolution.sqlite", "name_resolution.sqlite:SqliteNameResolver")
COMPONENTS.register("middleware.http.bearer", "middleware.bearer:Bearer")
COMPONENTS.register("middleware.http.ratelimit", "middleware.ratelimit:RateLimit")
COMPONENTS.register("middleware.http.routeralias", "middleware.routeralias:RouterAlias")
COMPONENTS.register("middleware.http.routerchecker", "middleware.routerchecker:RouterChecker")
COMPONENTS.register("middleware.http.uppercase", "middleware.uppercase:Uppercase")
COMPONENTS.register("middleware.http.wasm", "middleware.wasm:WasmMiddleware")
COMPONENTS.register("pubsub.in-memory", "pubsub.in_memory:InMemoryPubSub")
COMPONENTS.register("pubsub.jetstream", "pubsub.jetstream:JetStreamPubSub")
COMPONENTS.register("pubsub.kafka", "pubsub.kafka:KafkaPubSub")
COMPONENTS.register("pubsub.mqtt3", "pubsub.mqtt3:MqttPubSub")
COMPONENTS.register("pubsub.rabbitmq", "pubsub.rabbitmq:RabbitPubSub")
COMPONENTS.register("pubsub.redis", "pubsub.redis:RedisPubSub")
COMPONENTS.register("secretstores.hashicorp.vault", "secretstores.vault:VaultSecretStore")
COMPONENTS.register("secretstores.kubernetes", "secretstores.kubernetes:KubernetesSecretStore")
COMPONENTS.register("secretstores.local.env", "secretstores.local_env:LocalEnvSecretStore")
COMPONENTS.register("secretstores.local.file", "secretstores.local_file:LocalFileSecretStore")
COMPONENTS.register("state.in-memory", "state.in_memory:InMemoryStateStore")
COMPONENTS.register("state.postgresql", "state.postgresql:PostgresStateStoreV1")
COMPONENTS.register("state.postgresql", "state.postgresql:PostgresStateStoreV2", version="v2")
COMPONENTS.register("state.redis", "state.redis:RedisStateStore")
COMPONENTS.register("state.sqlite", "state.sqlite:SqliteStateStore")

# daprd's own second names.
COMPONENTS.alias("bindings.mqtt", "bindings.mqtt3")
COMPONENTS.alias("bindings.postgres", "bindings.postgresql")
COMPONENTS.alias("configuration.postgres", "configuration.postgresql")
COMPONENTS.alias("nameresolution.hashicorp.consul", "nameresolution.consul")
COMPONENTS.alias("pubsub.mqtt", "pubsub.mqtt3")
COMPONENTS.alias("state.postgres", "state.postgresql")
COMPONENTS.alias("state.sqlite3", "state.sqlite")
