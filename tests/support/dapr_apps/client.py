"""Scripts that use Dapr's own SDK, each run in a process of its own, as an app would."""

import json
import os
import subprocess
import sys
from typing import Any


def run_script(script: str, http_port: int, grpc_port: int, token: str = "") -> Any:
    """What a script has put into `result`."""
    env = {
        **os.environ,
        "DAPR_HTTP_PORT": str(http_port),
        "DAPR_GRPC_PORT": str(grpc_port),
        "DAPR_HEALTH_TIMEOUT": "20",
    }
    if token:
        env["DAPR_API_TOKEN"] = token
    code = f"import json\nresult = {{}}\n{script}\nprint(json.dumps(result))"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
