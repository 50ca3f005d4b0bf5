"""Starts and ends a real Kafka broker, which Maven has fetched; knows no component.

One node that is its own controller. Its listeners: plain; `sasl_port` (PLAIN, SCRAM-SHA-256 and
SCRAM-SHA-512 for `USER` with `PASSWORD`, OAUTHBEARER with tokens signed by the keys at `tokens`);
`ssl_port`; and `mtls_port`, which wants a client's certificate of `authority`.
"""

import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from meshproxy.server.dapr.run import free_port
from tests.support.certificates import make
from tests.support.server_process import ServerProcess

VERSION: Final = "4.1.2"
USER: Final = "me"
PASSWORD: Final = "s3cret"
AUDIENCE: Final = "kafka"
PARTITIONS: Final = 3  # of a topic that is made by its first use
_FETCH_S: Final = 300
_FORMAT_S: Final = 120
_POM: Final = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>broker</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
_JAVA: Final = ("-Xmx512m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_LOGIN: Final = "org.apache.kafka.common.security"
_API_VERSIONS: Final = struct.pack(">hhih", 18, 0, 1, -1)


@cache
def class_path() -> str:
    """Where the broker's classes are, fetched where they are not; empty where they cannot be."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="kafka-pom-") as folder:
        Path(folder, "pom.xml").write_text(_POM)
        found = Path(folder, "classes")
        command = ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={found}"]
        for more in (["-o"], []):  # what was fetched before needs no network
            done = subprocess.run(
                [*command, *more],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_FETCH_S,
                check=False,
            )
            if done.returncode == 0 and found.exists():
                return found.read_text().strip()
    return ""


class KafkaServer(ServerProcess):
    """One broker; what it has acknowledged outlives `kill`. `tokens`: the URL of a key set."""

    name = "kafka"
    ends_by = signal.SIGKILL  # in order it would take seconds

    def __init__(self, tokens: str = "") -> None:
        super().__init__()
        self._tokens = tokens
        self.authority = make("authority")
        self.sasl_port, self.ssl_port, self.mtls_port = free_port(), free_port(), free_port()
        self._controller_port = free_port()
        self._properties = self.folder / "server.properties"

    @staticmethod
    def available() -> bool:
        return bool(class_path())

    def argv(self) -> Sequence[str]:
        if not self._properties.exists():
            self._properties.write_text("".join(f"{line}\n" for line in self._settings()))
            self._format()
        return [*self._java(), "kafka.Kafka", str(self._properties)]

    def _java(self) -> list[str]:
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._tokens}"
        return ["java", *_JAVA, allowed, "-cp", class_path()]

    def _format(self) -> None:
        command = [*self._java(), "kafka.tools.StorageTool", "format"]
        command += ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(self._properties)]
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            command += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_FORMAT_S, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")

    def _settings(self) -> list[str]:
        listeners = {
            "PLAINTEXT": ("PLAINTEXT", self.port),
            "SASL": ("SASL_PLAINTEXT", self.sasl_port),
            "SSL": ("SSL", self.ssl_port),
            "MTLS": ("SSL", self.mtls_port),
            "CONTROLLER": ("PLAINTEXT", self._controller_port),
        }
        protocols = ",".join(f"{name}:{kind}" for name, (kind, _) in listeners.items())
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, (_, port) in listeners.items())
        return [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{self._controller_port}",
            "controller.listener.names=CONTROLLER",
            f"listeners={addresses}",
            f"listener.security.protocol.map={protocols}",
            "inter.broker.listener.name=PLAINTEXT",
            f"log.dirs={self.folder / 'data'}",
            f"num.partitions={PARTITIONS}",
            "offsets.topic.num.partitions=1",
            "offsets.topic.replication.factor=1",
            "group.initial.rebalance.delay.ms=0",
            *self._tls(),
            *self._sasl(),
        ]

    def _tls(self) -> list[str]:
        server = make("server", self.authority, sans=["IP:127.0.0.1"])
        key_store, trust_store = self.folder / "server.pem", self.folder / "authority.pem"
        key_store.write_bytes(server.key + server.pem)
        trust_store.write_bytes(self.authority.pem)
        return [
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={key_store}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={trust_store}",
            "listener.name.mtls.ssl.client.auth=required",
        ]

    def _sasl(self) -> list[str]:
        plain = f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
        start = "listener.name.sasl"
        lines = [f"{start}.plain.sasl.jaas.config={plain}"]
        for each in ("scram-sha-256", "scram-sha-512"):
            module = f"{_LOGIN}.scram.ScramLoginModule required;"
            lines.append(f"{start}.{each}.sasl.jaas.config={module}")
        if self._tokens:
            mechanisms += ",OAUTHBEARER"
            package = f"{_LOGIN}.oauthbearer"
            lines += [
                f"{start}.oauthbearer.sasl.jaas.config={package}.OAuthBearerLoginModule required;",
                f"{start}.oauthbearer.sasl.server.callback.handler.class="
                f"{package}.OAuthBearerValidatorCallbackHandler",
                f"{start}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={self._tokens}",
                f"{start}.oauthbearer.sasl.oauthbearer.expected.audience={AUDIENCE}",
            ]
        return [*lines, f"{start}.sasl.enabled.mechanisms={mechanisms}"]

    def answers(self) -> bool:
        """Whether it says which requests it takes."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.settimeout(5)
                client.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
                return client.recv(4, socket.MSG_WAITALL) != b""
        except OSError:
            return False
