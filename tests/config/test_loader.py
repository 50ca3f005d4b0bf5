"""Files and texts to trees: limits, encodings, syntax. Each mistake has its line and column."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.config.loader import MAX_FILE_SIZE, load_bytes, load_yaml
from meshproxy.config.nodes import Composer, Mapping, Node, Scalar, Sequence
from meshproxy.config.problems import Problems
from meshproxy.errors import Code, ConfigError, ErrorKind


def read(data: str | bytes, *, as_json: bool = False) -> tuple[Mapping | None, list[ConfigError]]:
    problems = Problems()
    raw = data.encode() if isinstance(data, str) else data
    return load_bytes(raw, "f.yaml", problems, json=as_json), problems.found


def refused(data: str | bytes, *, as_json: bool = False) -> ConfigError:
    _, found = read(data, as_json=as_json)
    assert len(found) == 1, found
    return found[0]


def tree(node: Node) -> object:
    if isinstance(node, Mapping):
        return {key: tree(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [tree(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


def value(text: str) -> object:
    root, found = read(f"a: {text}")
    assert root is not None
    assert not found
    return tree(root.entries["a"][1])


# What Envoy 1.40 makes of a plain scalar, seen in the Struct of `node.metadata`.
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1", 1), ("-7", -7), ("+3", 3), ("0x10", 16), ("010", 8), ("08", "08"), ("0o7", "0o7"),
        ("1_000", "1_000"), ("1e3", "1e3"), ("1.5", "1.5"), (".5", ".5"), ("1:30", "1:30"),
        ("2147483647", 2147483647), ("2147483648", "2147483648"), ("-2147483649", "-2147483649"),
        ("99999999999999999999", "99999999999999999999"), ("0x", "0x"),
        ("0xFFFFFFFF", "4294967295"),
        ("yes", True), ("Y", True), ("On", True), ("TRUE", True), ("tRUE", "tRUE"), ("t", "t"),
        ("no", False), ("N", False), ("OFF", False), ("false", False), ("oFF", "oFF"),
        ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"), ("", None),
        ("'5'", "5"), ('"yes"', "yes"), ("'~'", "~"), ("''", ""), ("! 5", "5"), ("!!str x", "x"),
        (".inf", ".inf"), ("2026-01-01", "2026-01-01"), ("|\n  x\n  y", "x\ny"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_they_mean_to_envoy(text, meaning):
    found = value(text)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize(
    ("data", "line", "column", "words"),
    [
        ("a: [1, 2\nb: 3\n", 2, 2, "expected ',' or ']'"),
        ("a:\n\tb: 1\n", 2, 1, "a tab cannot indent"),
        ("a: 1\n b: 2\n", 2, 3, "mapping values are not allowed"),
        ("a: *nowhere\n", 1, 4, "undefined alias '*nowhere'"),
        ("a: 'open\n", 2, 1, "end of stream"),
        ("a: @b\n", 1, 4, "'@' cannot begin a value"),
        ("[1, 2]: 3\n", 1, 1, "a key must be a single word"),
        ("? {x: 1}\n: 3\n", 1, 3, "a key must be a single word"),
        ("a: &k [1]\n*k : 3\n", 2, 1, "a key must be a single word"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document"),
        ("a: \x07\n", 1, 4, "control characters"),
    ],
)
def test_broken_syntax_is_refused_with_line_and_column(data, line, column, words):
    error = refused(data)
    assert error.kind is ErrorKind.SYNTAX
    assert (error.place.line, error.place.column) == (line, column)
    assert words in error.message


@pytest.mark.parametrize("data", ["", "\n\n", "# nothing\n", "~", "null", "---\n", "---\n...\n"])
def test_a_document_without_content_is_refused(data):
    assert refused(data).code is Code.NOT_A_MAPPING
    assert "empty" in refused(data).message


@pytest.mark.parametrize("data", ["5", "[]", "text", "- a\n- b\n"])
def test_a_document_that_is_no_mapping_is_refused(data):
    assert refused(data).code is Code.NOT_A_MAPPING


def test_a_key_given_twice_is_refused_with_both_lines():
    error = refused("a: 1\nb: {c: 1, d: 2,\n    c: 3}\n")
    assert error.code is Code.DUPLICATE_KEY
    assert (error.place.line, error.place.column) == (3, 5)
    assert "duplicate key 'c', first given in line 2" in error.message


def test_a_field_tagged_ignore_is_left_out_and_its_anchors_stay():
    root, found = read("!ignore shared: &s {x: 1}\na: *s\n")
    assert not found
    assert tree(root) == {"a": {"x": 1}}


@pytest.mark.parametrize(
    "data", ["a: !python/object:os.system x", "a: !mine [1]", "a: !!binary eA=="]
)
def test_custom_tags_are_refused(data):
    error = refused(data)
    assert error.code is Code.TAG
    assert error.place.line == 1


@pytest.mark.parametrize("opener", ["[", "{a: ", "- "])
def test_a_million_levels_end_in_an_error_at_the_first_that_is_too_deep(opener, monkeypatch):
    opened = []
    start = Composer.start

    def counted(composer, node, *others):
        opened.append(node)
        start(composer, node, *others)

    monkeypatch.setattr(Composer, "start", counted)
    error = refused("a: " + opener * 1_000_000 if opener != "- " else "- " * 1_000_000)
    assert error.kind is ErrorKind.LIMIT
    assert "deeper than 100 levels" in error.message
    assert error.place.line == 1
    assert len(opened) <= 101


def test_a_million_levels_of_json_end_in_an_error():
    assert refused('{"a":' * 1_000_000, as_json=True).kind is ErrorKind.LIMIT


def test_the_deepest_allowed_nesting_is_read():
    assert read("a: " + "[" * 99 + "]" * 99)[1] == []
    assert read("a: " + "[" * 100 + "]" * 100)[1][0].kind is ErrorKind.LIMIT


def test_aliases_that_expand_beyond_all_bounds_are_refused_with_the_line():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    error = refused(bomb)
    assert error.kind is ErrorKind.LIMIT
    assert "1000000 nodes" in error.message
    assert error.place.line == 6


def test_an_alias_cannot_nest_deeper_than_the_limit():
    text = "a0: &a0 [" * 1 + "x]\n"
    text += "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    error = refused(text)
    assert error.kind is ErrorKind.LIMIT
    assert "deeper than 100 levels" in error.message


def test_an_alias_inside_of_its_own_anchor_is_refused():
    error = refused("a: &a [1, *a]\n")
    assert error.kind is ErrorKind.LIMIT
    assert "contains it" in error.message
    assert (error.place.line, error.place.column) == (1, 11)


def test_a_file_over_16_mib_is_refused(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: " + b"x" * MAX_FILE_SIZE)
    problems = Problems()
    assert load_yaml(path, problems) is None
    assert problems.found[0].kind is ErrorKind.LIMIT


def test_a_file_of_almost_16_mib_is_read(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: " + b"x" * (MAX_FILE_SIZE - 3))
    problems = Problems()
    assert load_yaml(path, problems) is not None
    assert problems.found == []


def test_a_file_that_is_not_there_is_named():
    problems = Problems()
    assert load_yaml(Path("/nonexistent/x.yaml"), problems) is None
    assert (
        str(problems.found[0]) == "/nonexistent/x.yaml: cannot be read: No such file or directory"
    )


def test_protobuf_files_are_refused_by_name(tmp_path):
    problems = Problems()
    assert load_yaml(tmp_path / "x.pb_text", problems) is None
    assert "protobuf files are not read" in problems.found[0].message


def test_bytes_that_are_not_utf8_are_refused_with_their_place():
    error = refused("a: é\nb: é".encode() + b"\xff\n")
    assert error.code is Code.ENCODING
    assert (error.place.line, error.place.column) == (2, 5)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_understood(encoding):
    root, found = read("a: é".encode(encoding))
    assert not found
    assert tree(root) == {"a": "é"}


# ---- JSON


@pytest.mark.parametrize(
    ("data", "line", "column", "expected"),
    [
        ('{"a": 1,}', 1, 9, "a key in double quotes"),
        ('{"a": 1 "b": 2}', 1, 9, "',' or the end of the collection"),
        ("{'a': 1}", 1, 2, "a key in double quotes or '}'"),
        ("{a: 1}", 1, 2, "a key in double quotes or '}'"),
        ('{"a": 01}', 1, 7, "a value"),
        ('{"a": tru}', 1, 7, "a value"),
        ('{"a": 1}\n x', 2, 2, "the end of the document"),
        ('{"a":\n [1, 2}', 2, 7, "',' or the end of the collection"),
        ('{"a": "x\ty"}', 1, 7, "a value"),
        ('{"a": 1', 1, 8, "',' or the end of the collection"),
        ('{"a" 1}', 1, 6, "':'"),
    ],
)
def test_broken_json_is_refused_with_line_column_and_what_was_expected(
    data, line, column, expected
):
    error = refused(data, as_json=True)
    assert error.code is Code.SYNTAX
    assert (error.place.line, error.place.column) == (line, column)
    assert f"expected {expected}" in error.message


def test_a_json_string_with_half_a_surrogate_pair_is_refused():
    assert refused(r'{"a": "\ud83d"}', as_json=True).code is Code.SYNTAX


def test_a_json_key_given_twice_is_refused_as_in_yaml():
    assert refused('{"a": 1,\n "a": 2}', as_json=True).code is Code.DUPLICATE_KEY


def test_a_file_ending_in_json_is_read_as_json(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"a": 1.5}')
    problems = Problems()
    root = load_yaml(path, problems)
    assert root is not None
    assert tree(root) == {"a": 1.5}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from([None, 2]))
def test_json_is_read_as_the_standard_library_reads_it(document, indent):
    root, found = read(json.dumps(document, indent=indent), as_json=True)
    assert not found
    assert root is not None
    assert tree(root) == document


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_loader_crash(data, as_json):
    root, found = read(data, as_json=as_json)
    assert (root is not None) or found


@given(st.text(alphabet="ab:-[]{},&*!#'\"|> \n\t~1", max_size=60))
def test_no_text_made_of_yaml_signs_makes_the_loader_crash(text):
    root, found = read(text)
    assert (root is not None) or found
