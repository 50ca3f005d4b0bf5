"""Names and pins: compared as bytes, wildcards as Envoy takes them, NULs refused."""

import hashlib

import pytest

from meshproxy.network.tls.certificate import Certificate
from meshproxy.network.tls.config import SanMatcher, ValidationConfig
from meshproxy.network.tls.verify import dns_name_matches, has_name, refusal
from tests.support.certificates import make


def matcher(kind, text, *, exact=True):
    value = text.encode()
    return SanMatcher(kind, lambda name: name == value, value if exact else None)


def certificate(**options):
    return Certificate(make("leaf", **options).der)


NAMED = certificate(sans=["DNS:a.example", "DNS:*.w.example", "URI:spiffe://td/x", "IP:10.0.0.1"])


@pytest.mark.parametrize(
    ("kind", "text", "fits"),
    [
        ("DNS", "a.example", True), ("DNS", "b.w.example", True), ("DNS", "b.c.w.example", False),
        ("DNS", "other", False), ("URI", "spiffe://td/x", True), ("URI", "a.example", False),
        ("DNS", "spiffe://td/x", False), ("IP_ADDRESS", "10.0.0.1", True),
    ],
)  # fmt: skip
def test_a_name_must_be_of_the_matchers_kind(kind, text, fits):
    validation = ValidationConfig(san_matchers=(matcher(kind, text),))
    assert refusal(validation, NAMED, None) == ("" if fits else "fail_verify_san")


def test_one_matcher_of_several_is_enough():
    validation = ValidationConfig(san_matchers=(matcher("DNS", "x"), matcher("DNS", "a.example")))
    assert refusal(validation, NAMED, None) == ""


def test_a_name_with_an_embedded_nul_is_refused_whatever_is_asked():
    evil = certificate(raw_san=b"a.example\0.evil.example")
    assert ("DNS", b"a.example\0.evil.example") in evil.sans
    for validation in (
        ValidationConfig(),
        ValidationConfig(san_matchers=(matcher("DNS", "a.example"),)),
        ValidationConfig(hashes=frozenset({hashlib.sha256(evil.der).digest()})),
    ):
        assert refusal(validation, evil, None) == "fail_verify_san"


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        (b"a.example", b"A.Example", True), (b"x.a.example", b"*.a.example", True),
        (b"a.example", b"*.a.example", False), (b".a.example", b"*.a.example", False),
        (b"x.y.a.example", b"*.a.example", False), (b"x.example", b"*.example", False),
        (b"xa.example", b"x*.example", False), (b"a.b.example", b"a.*.example", False),
        (b"example", b"*", False),
    ],
)  # fmt: skip
def test_a_wildcard_stands_for_exactly_the_first_label(name, pattern, fits):
    assert dns_name_matches(name, pattern) is fits


@pytest.mark.parametrize(
    ("name", "fits"), [(b"a.example", True), (b"10.0.0.1", True), (b"10.0.0.2", False)]
)
def test_auto_san_validation_looks_for_the_name_or_the_address(name, fits):
    assert has_name(NAMED, name) is fits
    assert refusal(ValidationConfig(), NAMED, name) == ("" if fits else "fail_verify_san")


def test_pins_are_of_the_certificate_or_of_its_key():
    right = hashlib.sha256(NAMED.der).digest()
    wrong = bytes(32)
    for pins, counter in (
        ({"hashes": frozenset({right})}, ""),
        ({"spki": frozenset({NAMED.spki_digest})}, ""),
        ({"hashes": frozenset({wrong}), "spki": frozenset({NAMED.spki_digest})}, ""),
        ({"hashes": frozenset({wrong})}, "fail_verify_cert_hash"),
        ({"spki": frozenset({right})}, "fail_verify_cert_hash"),
    ):
        assert refusal(ValidationConfig(**pins), NAMED, None) == counter


def test_a_certificate_without_names_has_none():
    bare = certificate()
    assert bare.sans == ()
    assert refusal(ValidationConfig(), bare, None) == ""
    assert refusal(ValidationConfig(), bare, b"leaf") == "fail_verify_san"
