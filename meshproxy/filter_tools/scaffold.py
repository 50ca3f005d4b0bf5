"""`meshproxy filter new`: a folder with a filter that builds, and a test that passes.

Owns the languages and the filling in of names. The texts are in `scaffolds/`, one folder a language
and `common/` for all; a file NAME.c.in becomes <name>.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshproxy.resources import filter_header

SCAFFOLDS: Final = Path(__file__).resolve().parent / "scaffolds"
NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME: Final = 40
EXECUTABLE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Language:
    """A language to write filters in: `source` is the file to edit, `needs` what builds it."""

    title: str
    source: str
    needs: str
    generated: tuple[str, ...] = ()


LANGUAGES: Final = {
    "c": Language("C", "NAME.c", "`pip install 'meshproxy[filters]'`"),
    "assemblyscript": Language(
        "AssemblyScript", "assembly/index.ts", "Node.js with npm", ("/node_modules/",)
    ),
    "rust": Language(
        "Rust", "src/lib.rs", "cargo and `rustup target add wasm32-wasip1`", ("/target/",)
    ),
    "go": Language("Go", "main.go", "Go 1.24 or newer"),
}


class ScaffoldError(Exception):
    """Why there is no new folder."""


def create(language: str, name: str, parent: Path) -> Path:
    """Write the folder `parent/name` and return it.

    Raises ScaffoldError for a name that cannot be one everywhere, and where there is something
    already.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ScaffoldError(
            f"'{name}' is no name for a filter: lower-case letters, digits and single dashes, "
            f"a letter first, at most {MAX_NAME} characters"
        )
    folder = parent / name
    files = dict(_files(language, name))
    try:
        if folder.exists():
            raise ScaffoldError(f"{folder} exists already")
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
            if target.suffix == ".sh":
                target.chmod(EXECUTABLE)
    except OSError as error:
        raise ScaffoldError(f"{error.filename or folder}: {error.strerror or error}") from error
    return folder


def _files(language: str, name: str) -> Iterator[tuple[str, str]]:
    """Relative path and text of every file."""
    spec = LANGUAGES[language]
    words = {
        "NAME": name,
        "IDENTIFIER": name.replace("-", "_"),
        "LANGUAGE": spec.title,
        "SOURCE": spec.source.replace("NAME", name),
        "NEEDS": spec.needs,
    }
    for template, relative in _templates(language):
        path = relative.replace("NAME", name)
        text = re.sub("@([A-Z]+)@", lambda word: words[word[1]], template.read_text("utf-8"))
        if path == "gitignore":
            path = ".gitignore"
            text += "".join(f"{line}\n" for line in spec.generated)
        yield path, text
    if language == "c":
        yield "proxy_wasm.h", filter_header().read_text("utf-8")


def _templates(language: str) -> Iterator[tuple[Path, str]]:
    for folder in (SCAFFOLDS / "common", SCAFFOLDS / language):
        for path in sorted(folder.rglob("*.in")):
            yield path, path.relative_to(folder).as_posix().removesuffix(".in")
