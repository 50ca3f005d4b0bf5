from meshproxy.errors import Code, ConfigError, ConfigErrors, ErrorKind, Place


def test_an_error_says_place_path_expectation_and_suggestion_in_one_line():
    error = ConfigError(
        Code.UNKNOWN_FIELD,
        "unknown field 'conect_timeout'",
        Place("envoy.yaml", 24, 5),
        "static_resources.clusters[0]",
        "a field of Cluster",
        "connect_timeout",
    )
    assert str(error) == (
        "envoy.yaml:24:5: static_resources.clusters[0]: unknown field 'conect_timeout'; "
        "expected a field of Cluster (did you mean 'connect_timeout'?)"
    )
    assert error.kind is ErrorKind.UNKNOWN_FIELD


def test_a_place_without_a_line_is_the_document():
    assert str(Place("envoy.yaml")) == "envoy.yaml"


def test_every_code_has_a_kind():
    for code in Code:
        assert isinstance(ConfigError(code, "", Place("x")).kind, ErrorKind)


def test_all_errors_come_together():
    errors = [ConfigError(Code.RULE, text, Place("x", 1, 1)) for text in ("a", "b")]
    assert str(ConfigErrors(errors)).splitlines() == ["x:1:1: a", "x:1:1: b"]
