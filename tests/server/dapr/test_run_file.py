"""A dapr.yaml: what is started, with which flags, and what is wrong with it."""

import pytest

from meshproxy.server.dapr.run import Lines
from meshproxy.server.dapr.run_file import plans
from meshproxy.server.flags import FlagError

TEXT = """\
version: 1
common:
  logLevel: debug
  configFilePath: config.yaml
  resourcesPaths: [a, b]
  env: {A: "1", B: "2"}
apps:
- appID: shop
  appDirPath: shop
  appPort: 8000
  daprHTTPPort: 3511
  enableAppHealthCheck: true
  resourcesPath: own
  env: {B: "3"}
  command: [python, app.py]
- appID: worker
  logLevel: warn
"""


def write(tmp_path, text):
    path = tmp_path / "dapr.yaml"
    path.write_text(text)
    return path


def test_each_app_has_its_flags_and_those_that_all_have(tmp_path):
    shop, worker = plans(write(tmp_path, TEXT), now=0.0)
    assert {
        "--app-id=shop", "--app-port=8000", "--dapr-http-port=3511", "--log-level=debug",
        "--enable-app-health-check=true", f"--resources-path={tmp_path}/shop/own",
        f"--config={tmp_path}/config.yaml", "--dapr-listen-addresses=127.0.0.1",
    } <= set(shop.flags)  # fmt: skip
    assert shop.command == ("python", "app.py")
    assert shop.both == {"A": "1", "B": "3"}
    assert shop.env["APP_PORT"] == "8000"
    assert shop.folder == str(tmp_path / "shop")
    assert f"--resources-path={tmp_path}/a" in worker.flags
    assert f"--resources-path={tmp_path}/b" in worker.flags
    assert "--log-level=warn" in worker.flags
    assert worker.command == ()


def test_a_sidecar_writes_into_a_file_and_an_app_into_both(tmp_path):
    shop, worker = plans(write(tmp_path, TEXT + "  daprdLogDestination: console\n"), now=0.0)
    logs = f"{tmp_path}/shop/.dapr/logs/shop"
    assert shop.app_lines.prefix == b"== APP - shop == "
    assert shop.app_lines.console
    assert shop.app_lines.file.startswith(f"{logs}_app_")
    assert not shop.dapr_lines.console
    assert shop.dapr_lines.file.startswith(f"{logs}_daprd_")
    assert worker.dapr_lines == Lines(b"== DAPR - worker == ")


def test_an_app_without_a_name_has_that_of_its_folder_and_resources_inside(tmp_path):
    (tmp_path / "cart" / ".dapr" / "resources").mkdir(parents=True)
    [plan] = plans(write(tmp_path, "version: 1\napps: [{appDirPath: cart}]\n"))
    assert "--app-id=cart" in plan.flags
    assert f"--resources-path={tmp_path}/cart/.dapr/resources" in plan.flags


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", ":1:10: version: '2' is not known; expected 1"),
        ("appPort: 8000", "appPort: http", 'apps[0]: invalid argument "http" for "--app-port"'),
        ("appPort", "appPor", "'appPor' is no field here"),
        ("logLevel: debug", "appID: x", "common.appID: 'appID' is no field here"),
        ("[python, app.py]", "python app.py", "apps[0].command: is not a list"),
        ("appID: worker", "appLogDestination: paper", "'paper' is not known"),
        ("apps:", "app:", "'app' is no field here"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, old, new, message):
    with pytest.raises(FlagError) as raised:
        plans(write(tmp_path, TEXT.replace(old, new, 1)))
    assert message in str(raised.value)


def test_a_file_that_is_not_there_and_one_without_apps_are_told(tmp_path):
    with pytest.raises(FlagError, match="cannot be read"):
        plans(tmp_path)
    with pytest.raises(FlagError, match="has no apps"):
        plans(write(tmp_path, "version: 1\n"))
