"""The house rules that a machine can check, and proof that each check rejects.

The floors are read from THE MAP, the docstring of `meshproxy/__init__.py`, so the page and the code
cannot part.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
SANS_IO = {"errors", "stats", "http", "wasm", "proxy_wasm", "router"}
TRANSPORT_FILE = "network/connection.py"
PROTO_PACKAGE = "config"
MESSAGES = (
    "dapr/call_local/",
    "dapr/grpc_api/",
    "dapr/pluggable/",
)  # of Dapr, not of a configuration
MAP_LINE = re.compile(r"^ {4}([0-9 ])  ([a-z_]+) +\S", re.MULTILINE)


class House:
    """One source tree: the package at `root/meshproxy` and its tests at `root/tests`."""

    def __init__(self, root: Path):
        self.package = root / "meshproxy"
        self.tests = root / "tests"
        self.files = {
            path.relative_to(self.package).as_posix(): path
            for path in sorted(self.package.rglob("*.py"))
        }
        self.trees = {name: ast.parse(path.read_text("utf-8")) for name, path in self.files.items()}
        self.floors = dict(self._floors())

    def _floors(self) -> Iterator[tuple[str, int]]:
        page = ast.get_docstring(self.trees["__init__.py"], clean=False) or ""
        floor = None
        for number, name in MAP_LINE.findall(page):
            floor = int(number) if number != " " else floor
            assert floor is not None, "the first line of THE MAP has no floor"
            yield name, floor

    def packages(self) -> set[str]:
        """Public packages and modules directly under meshproxy."""
        tops = {package_of(name) for name in self.files}
        return {name for name in tops if not name.startswith("_")}


def package_of(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def imports(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported, `from x import y` as `x.y`."""
    here = ["meshproxy", *file.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def climbs(house: House) -> Iterator[str]:
    for file, tree in house.trees.items():
        here = package_of(file)
        if here.startswith("_"):
            continue
        for line, name in imports(file, tree):
            parts = name.split(".")
            there = parts[1] if parts[0] == "meshproxy" and len(parts) > 1 else here
            if there == here or there not in house.floors:
                continue
            if house.floors[there] >= house.floors.get(here, -1):
                yield f"{file}:{line}: {here} must not import {there}"


def asyncio_where_banned(house: House) -> Iterator[str]:
    for file, tree in house.trees.items():
        if package_of(file) not in SANS_IO:
            continue
        for line, name in imports(file, tree):
            if name.partition(".")[0] in {"asyncio", "uvloop", "aiohttp"}:
                yield f"{file}:{line}: {name} on a floor without I/O"


def protos_where_banned(house: House) -> Iterator[str]:
    for file, tree in house.trees.items():
        if package_of(file) == PROTO_PACKAGE or file.startswith(MESSAGES):
            continue
        for line, name in imports(file, tree):
            if name.startswith("google.protobuf") or "_pb2" in name:
                yield f"{file}:{line}: {name} outside meshproxy/{PROTO_PACKAGE}"


def transports_where_banned(house: House) -> Iterator[str]:
    touched = {"transport", "_transport", "connection_made", "data_received", "eof_received"}
    for file, tree in house.trees.items():
        if file == TRANSPORT_FILE:
            continue
        for node in ast.walk(tree):
            name = getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(name, str) and (name in touched or name.endswith("Transport")):
                yield f"{file}:{getattr(node, 'lineno', 1)}: {name} outside {TRANSPORT_FILE}"


def oversized(house: House) -> Iterator[str]:
    for file, path in house.files.items():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            yield f"{file}: {lines} lines"
        for node in ast.walk(house.trees[file]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    yield f"{file}:{node.lineno}: {node.name} has {length} lines"


def missing_on_the_map(house: House) -> Iterator[str]:
    for name in sorted(house.packages() - house.floors.keys()):
        yield f"{name} is not on THE MAP"


def without_docstring(house: House) -> Iterator[str]:
    for file, tree in house.trees.items():
        if house.files[file].stat().st_size and not ast.get_docstring(tree):
            yield f"{file}: its first line does not say what it owns"


def without_mirror(house: House) -> Iterator[str]:
    for name in sorted(house.packages()):
        folder = house.tests / name
        if not any(folder.glob("test_*.py")) and not (house.tests / f"test_{name}.py").is_file():
            yield f"{name} has no tests in tests/{name}"


CHECKS = [
    climbs,
    asyncio_where_banned,
    protos_where_banned,
    transports_where_banned,
    oversized,
    missing_on_the_map,
    without_docstring,
    without_mirror,
]


@pytest.fixture(scope="module")
def house() -> House:
    """Ours; reading it takes seconds, and nobody changes it."""
    return House(ROOT)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_is_in_order(check, house):
    assert list(check(house)) == []


PAGE = '''"""A house.

    3  server   starts
    2  router   routes
       config   reads
    1  network  connects
    0  errors   names
"""
'''

FAULTS = {
    "a floor imports one above": ("router/a.py", "import meshproxy.server.x", climbs),
    "a relative import climbs": ("network/a.py", "from ..router import x", climbs),
    "an import inside a function climbs": (
        "errors.py",
        "def f():\n import meshproxy.router",
        climbs,
    ),
    "siblings import each other": ("router/a.py", "from meshproxy import config", climbs),
    "asyncio on a floor without I/O": ("router/a.py", "import asyncio", asyncio_where_banned),
    "asyncio by its parts": ("router/a.py", "from asyncio import Queue", asyncio_where_banned),
    "a proto outside config": ("router/a.py", "import envoy.x_pb2", protos_where_banned),
    "protobuf outside config": ("router/a.py", "from google import protobuf", protos_where_banned),
    "a protocol elsewhere": (
        "router/a.py",
        "class P:\n def data_received(self): ...",
        transports_where_banned,
    ),
    "a transport elsewhere": ("router/a.py", "x = y.transport", transports_where_banned),
    "a long file": ("router/a.py", "x = 1\n" * 501, oversized),
    "a long function": ("router/a.py", "def f():\n" + " x = 1\n" * 60, oversized),
    "a long method": ("router/a.py", "class A:\n def f(self):\n" + "  x = 1\n" * 60, oversized),
    "a package that the map forgot": ("stray/a.py", "", missing_on_the_map),
    "a module without a first line": ("router/a.py", "x = 1", without_docstring),
    "a package without tests": ("network/a.py", "", without_mirror),
}

SOUND = {
    "router/a.py": '"""Routes."""\nimport meshproxy.network.x\nfrom meshproxy import errors\n',
    "network/connection.py": '"""Owns it."""\nimport asyncio\nx: asyncio.Transport\n',
    "config/a.py": '"""Reads."""\nimport google.protobuf\nfrom envoy import x_pb2\n',
    "server/a.py": '"""Starts."""\nfrom ..router import a\n',
    "errors.py": '"""Names."""\n',
}


def build_house(root: Path, files: dict[str, str], tested: set[str]) -> House:
    for name, text in {"__init__.py": PAGE, **files}.items():
        path = root / "meshproxy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for name in tested:
        (root / "tests" / name).mkdir(parents=True)
        (root / "tests" / name / f"test_{name}.py").touch()
    return House(root)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_rejects(fault, tmp_path):
    file, text, check = FAULTS[fault]
    house = build_house(tmp_path, {file: text}, {"router", "errors", "stray"})
    complaints = list(check(house))
    assert len(complaints) == 1
    assert package_of(file) in complaints[0]


def test_a_sound_house_passes_every_check(tmp_path):
    house = build_house(tmp_path, SOUND, {package_of(name) for name in SOUND})
    assert [complaint for check in CHECKS for complaint in check(house)] == []


def test_the_map_names_no_floor_twice_and_only_what_can_exist(house):
    floors = house.floors
    assert set(floors.values()) == set(range(max(floors.values()) + 1))
