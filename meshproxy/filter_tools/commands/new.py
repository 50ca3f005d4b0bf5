"""`meshproxy filter new --lang LANGUAGE NAME`: start a filter.

Owns the flags and what to do next. The files are `scaffold.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshproxy.filter_tools.commands import CommandError
from meshproxy.filter_tools.commands.arguments import Parser
from meshproxy.filter_tools.scaffold import LANGUAGES, ScaffoldError, create

DESCRIPTION = """\
Makes the folder NAME with a filter that builds, a configuration, and a test that passes."""


def run(arguments: Sequence[str]) -> int:
    """Write the folder. Raises CommandError where that cannot be."""
    parser = Parser("new", DESCRIPTION)
    parser.add_argument("name", metavar="NAME", help="lower-case letters, digits and dashes")
    parser.add_argument("--lang", required=True, choices=tuple(LANGUAGES))
    parser.add_argument("--directory", default=".", metavar="DIR", help="where to make it (.)")
    options = parser.parse_args(list(arguments))
    try:
        folder = create(options.lang, options.name, Path(options.directory))
    except ScaffoldError as error:
        raise CommandError(str(error)) from error
    language = LANGUAGES[options.lang]
    print(f"{folder}: a filter in {language.title}, see its README.md")
    print(f"  cd {folder}")
    print(f"  ./build.sh   # needs {language.needs.replace('`', '')}")
    print("  pytest")
    return 0
