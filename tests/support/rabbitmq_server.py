"""Starts and ends a real RabbitMQ node with its own port mapper; knows no component."""

import shutil
import signal
import socket
from collections.abc import Mapping, Sequence

from meshproxy.server.dapr.run import free_port
from tests.support.certificates import make
from tests.support.server_process import ServerProcess, end

# Debian's own `rabbitmq-server` in the path changes the user, and with it the folders.
_SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")


def _script() -> str | None:
    return next((found for each in _SCRIPTS if (found := shutil.which(each))), None)


class RabbitServer(ServerProcess):
    """One node; what is durable and persistent outlives `kill`."""

    name = "rabbitmq"
    ends_by = signal.SIGKILL

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.authority = make("authority")
        self._mapper_port, self._dist_port = free_port(), free_port()

    @staticmethod
    def available() -> bool:
        return _script() is not None and shutil.which("epmd") is not None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.address}/"

    def start(self) -> None:
        # One that the node finds running: it would leave its own behind.
        mapper = ["epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port)]
        if not hasattr(self, "_mapper"):
            self._mapper = self.spawn(mapper)
        super().start()

    def __exit__(self, *failure: object) -> None:
        if hasattr(self, "_mapper"):
            end(self._mapper, signal.SIGKILL)
        super().__exit__(*failure)

    def argv(self) -> Sequence[str]:
        config = self.folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.default = {self.address}\nlog.console = true\n{self._security()}"
        )
        script = _script()
        assert script is not None
        return [script]

    def _security(self) -> str:
        """TLS on a port of its own, where a certificate of the authority may be the login."""
        authority, _ = self.authority.write(self.folder, "authority")
        cert, key = make("server", self.authority, sans=["IP:127.0.0.1"]).write(
            self.folder, "server"
        )
        return (
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {authority}\nssl_options.certfile = {cert}\n"
            f"ssl_options.keyfile = {key}\nssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = false\nssl_cert_login_from = common_name\n"
            "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = AMQPLAIN\n"
            "auth_mechanisms.3 = EXTERNAL\n"
        )

    def environment(self) -> Mapping[str, str]:
        folder = self.folder
        (folder / "enabled_plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n")
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def answers(self) -> bool:
        """Whether it greets."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.settimeout(1)
                client.sendall(b"AMQP\0\0\x09\x01")
                return client.recv(1) == b"\x01"
        except OSError:
            return False
