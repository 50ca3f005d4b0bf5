"""`accessControl`: every field, its defaults, and what each mistake says."""

import pytest

from meshproxy.dapr.access_control import AccessControl, AppPolicy, Operation
from tests.config.dapr.test_configuration import TEXT, load

FULL = TEXT + """\
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - appId: app1
      defaultAction: deny
      trustDomain: domain1
      namespace: ns1
      operations:
      - {name: /op1, httpVerb: [POST, get], action: allow}
      - {name: /op2/**, httpVerb: ['*'], action: deny}
    - appId: app2
"""  # fmt: skip


def test_every_field_is_read(tmp_path):
    found, errors = load(tmp_path, FULL)
    assert not errors
    operations = (Operation("/op1", ("POST", "GET"), True), Operation("/op2/**", ("*",), False))
    assert found.access_control == AccessControl(
        False,
        (
            AppPolicy("app1", "ns1", "domain1", False, operations),
            AppPolicy("app2", "default", "public", False),
        ),
    )


@pytest.mark.parametrize(
    ("text", "default"),
    [("{}", True), ("{policies: [{appId: a}]}", False), ("{defaultAction: allow}", True)],
)
def test_with_policies_whoever_is_not_named_is_denied_unless_the_default_says_otherwise(
    tmp_path, text, default
):
    found, errors = load(tmp_path, TEXT + f"  accessControl: {text}\n")
    assert not errors
    assert found.access_control.default is default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{defaultAction: maybe}", "'maybe' is not known; expected allow, deny"),
        ("{policies: [{}]}", "'appId' is missing"),
        ("{policies: [{appId: a}, {appId: a}]}", "a second policy for the app 'a'"),
        ("{policies: [{appId: a, operations: [{name: /x}]}]}", "'action' is missing"),
        ("{policies: [{appId: a, operations: [{action: deny}]}]}", "'name' is missing"),
        ("{policies: [{appId: a, operations: [{name: /**/x, action: deny}]}]}", "the last part"),
        ("{policies: [{appId: a, operations: [{name: x, httpVerb: [GOT], action: deny}]}]}",
         "'GOT' is no verb of HTTP; expected *, GET"),
        ("{policy: []}", "'policy' is no field here"),
    ],
)  # fmt: skip
def test_mistakes_are_told(tmp_path, text, message):
    _, errors = load(tmp_path, TEXT + f"  accessControl: {text}\n")
    assert len(errors) == 1
    assert errors[0].startswith(":11:")
    assert message in errors[0]
