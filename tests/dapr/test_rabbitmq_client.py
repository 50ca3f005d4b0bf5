"""How the server of RabbitMQ is named, and what is refused before anything is connected."""

import pytest

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.rabbitmq_client import RabbitClient
from tests.dapr.support import run


def client(**metadata):
    return RabbitClient(Metadata(metadata), "bus", 1.0)


@pytest.mark.parametrize(
    ("metadata", "url"),
    [
        ({}, "amqp://localhost:5672?heartbeat=10"),
        ({"connectionString": "amqp://u:p@h:1/v"}, "amqp://u:p@h:1/v?heartbeat=10"),
        ({"host": "amqps://h"}, "amqps://h:5671?heartbeat=10"),
        ({"hostname": "h:7", "username": "u", "password": "p@"}, "amqp://u:p%40@h:7?heartbeat=10"),
        ({"username": "u", "heartBeat": "30s"}, "amqp://u@localhost:5672?heartbeat=30"),
        ({"protocol": "amqps", "hostname": "h"}, "amqps://h:5671?heartbeat=10"),
    ],
)
def test_the_address_is_made_of_the_metadata(metadata, url):
    found = client(**metadata)._url
    assert str(found).replace("/?", "?") == url


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"connectionString": "http://h"}, "to begin with amqp:// or amqps://"),
        ({"connectionString": "amqp://h:x"}, "connectionString is no URL"),
        ({"connectionString": "amqp://h", "protocol": "amqps"}, "protocol is 'amqps', and"),
        ({"heartBeat": "x"}, "heartBeat: 'x' is not a duration"),
        ({"saslExternal": "true"}, "saslExternal needs caCert, clientCert and clientKey"),
        ({"protocol": "amqps", "caCert": "x"}, "caCert: "),
        ({"protocol": "amqps", "clientCert": "x"}, "clientCert and clientKey are needed together"),
    ],
)
def test_what_cannot_be_is_refused_by_name(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        client(**metadata)


def test_a_server_that_is_not_there_is_said_without_the_password():
    with pytest.raises(ComponentError, match=r"rabbitmq 127\.0\.0\.1:1: ") as found:
        run(client(connectionString="amqp://u:secret@127.0.0.1:1").open())
    assert "secret" not in str(found.value)
