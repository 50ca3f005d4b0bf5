"""Starts and ends a real Mosquitto; knows no component."""

import shutil
from collections.abc import Sequence

from tests.support.server_process import ServerProcess

_PROGRAMS = ("mosquitto", "/usr/sbin/mosquitto")


def _binary() -> str | None:
    return next((found for each in _PROGRAMS if (found := shutil.which(each))), None)


class MosquittoServer(ServerProcess):
    """It saves its sessions after every change. `security`: lines of its configuration."""

    name = "mosquitto"
    saving = "autosave_on_changes true\nautosave_interval 1\n"  # and when it ends

    def __init__(self, security: str = "allow_anonymous true") -> None:
        super().__init__()
        self._security = security

    @staticmethod
    def available() -> bool:
        return _binary() is not None

    @property
    def url(self) -> str:
        return f"mqtt://{self.address}"

    def argv(self) -> Sequence[str]:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n{self._security}\nuser root\n"
            f"persistence true\npersistence_location {self.folder}/\n"
            f"{self.saving}max_queued_messages 0\n"
        )
        binary = _binary()
        assert binary is not None
        return [binary, "-c", str(config)]
