import pytest

from tests.support.yaml_template import fill


def test_every_placeholder_gets_its_value():
    assert (
        fill("port: {{port}}\npath: {{ path }}", {"port": 80, "path": "/x"}) == "port: 80\npath: /x"
    )


def test_a_placeholder_without_value_is_an_error():
    with pytest.raises(KeyError):
        fill("{{port}}", {})


def test_a_value_without_placeholder_is_an_error():
    with pytest.raises(ValueError, match="prot"):
        fill("{{port}}", {"port": 1, "prot": 2})
