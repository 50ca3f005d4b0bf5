"""`bindings.http`: what is sent, what comes back, and what is refused."""

import ssl

import pytest
from aiohttp import web

from meshproxy.dapr.bindings.binding import Answered, BindingData
from meshproxy.dapr.bindings.http import HttpBinding
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from tests.dapr.support import run
from tests.support.certificates import make


def with_service(work, **metadata):
    """`work` gets the binding, before a service that answers with what it was asked."""

    async def answer(request):
        body = await request.text()
        status = int(request.query.get("status", 200))
        headers = {"X-Seen": request.headers.get("X-Mine", ""), "X-Type": request.content_type}
        headers["X-Token"] = request.headers.get("X-Auth", "")
        text = f"{request.method} {request.path_qs} {body}"
        return web.Response(status=status, text=text, headers=headers)

    async def main():
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        binding = HttpBinding(ComponentContext("service"))
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
        await binding.init(Metadata({"url": url, **metadata}))
        try:
            return await work(binding)
        finally:
            await binding.close()
            await runner.cleanup()

    return run(main())


@pytest.mark.parametrize(
    ("operation", "data", "metadata", "expected"),
    [
        ("get", b"", {}, b"GET /base "),
        ("get", b"", {"path": "/a/b?c=1"}, b"GET /base/a/b?c=1 "),
        ("create", b'{"n":1}', {"path": "x"}, b'POST /base/x {"n":1}'),
        ("put", b'"text"', {}, b'PUT /base "text"'),
        ("delete", b'{"not":"sent"}', {}, b"DELETE /base "),
    ],
)
def test_an_operation_is_a_request(operation, data, metadata, expected):
    async def work(binding):
        return await binding.invoke(operation, BindingData(data, metadata))

    answer = with_service(work)
    assert answer.data == expected
    assert (answer.metadata["statusCode"], answer.metadata["status"]) == ("200", "200 OK")


def test_names_with_a_capital_are_headers_and_may_replace_the_token():
    async def work(binding):
        metadata = {"X-Mine": "yes", "other": "no", "X-AUTH": "mine"}
        return await binding.invoke("post", BindingData(b"{}", metadata))

    answer = with_service(work, securityToken="t", securityTokenHeader="X-Auth")
    seen = {name: answer.metadata[name] for name in ("X-Seen", "X-Type", "X-Token")}
    assert seen == {"X-Seen": "yes", "X-Type": "application/json", "X-Token": "mine"}


def test_a_status_that_is_no_success_is_an_error_unless_it_may_not_be():
    async def work(binding):
        path = {"path": "?status=503"}
        with pytest.raises(ComponentError, match="received status code 503"):
            await binding.invoke("get", BindingData(metadata=path))
        allowed = {**path, "errorIfNot2XX": "false"}
        return await binding.invoke("get", BindingData(metadata=allowed))

    assert with_service(work).metadata["statusCode"] == "503"


@pytest.mark.parametrize("path", ["../x", "/a/../../x", "%2e%2e/x", "a/..\\x"])
def test_a_path_does_not_lead_above_the_url(path):
    async def work(binding):
        with pytest.raises(ComponentError, match=r"is '\.\.'"):
            await binding.invoke("get", BindingData(metadata={"path": path}))

    with_service(work)


def test_an_answer_has_a_limit():
    async def work(binding):
        with pytest.raises(ComponentError, match="more than 10 bytes"):
            await binding.invoke("post", BindingData(b"x" * 100))

    with_service(work, maxResponseBodySize="10")


def test_a_token_is_put_in():
    async def work(binding):
        return await binding.invoke("get", BindingData())

    answer = with_service(work, securityToken="t", securityTokenHeader="X-Auth")
    assert answer.metadata["X-Token"] == "t"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"Bad Name": "x"}, 'Post ".*/base": net/http: invalid header field name "Bad Name"'),
        ({"X:Y": "x"}, 'invalid header field name "X:Y"'),
        ({"X-\u00e9": "x"}, "invalid header field name"),
        ({"X-Bad": "a\nb: c"}, 'invalid header field value for "X-Bad"'),
        ({"baggage": "a\r\nb: c"}, 'invalid header field value for "baggage"'),
    ],
)
def test_what_is_no_header_is_not_sent(metadata, expected):
    async def work(binding):
        with pytest.raises(ComponentError, match=expected):
            await binding.invoke("create", BindingData(b"{}", metadata))

    with_service(work)


@pytest.mark.parametrize(("given", "fails"), [("", True), ("true", True), ("odd", False)])
def test_of_a_call_only_a_yes_makes_a_status_an_error(given, fails):
    async def work(binding):
        metadata = {"path": "?status=503", "errorIfNot2XX": given}
        try:
            await binding.invoke("get", BindingData(metadata=metadata))
        except Answered:
            return True
        return False

    assert with_service(work) is fails


def test_a_size_may_have_a_unit():
    async def work(binding):
        assert (await binding.invoke("post", BindingData(b"x" * 900))).data
        with pytest.raises(ComponentError, match="more than 1024 bytes"):
            await binding.invoke("post", BindingData(b"x" * 1025))

    with_service(work, maxResponseBodySize="1Ki")


def test_a_service_that_is_not_there_is_an_error():
    async def main():
        binding = HttpBinding(ComponentContext("service"))
        await binding.init(Metadata({"url": "http://127.0.0.1:1"}))
        with pytest.raises(ComponentError, match=r"^Get .* dial tcp 127\.0\.0\.1:1: .* refused$"):
            await binding.invoke("get", BindingData())
        await binding.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "missing url"),
        ({"url": "ftp://h"}, "url is 'ftp://h'; expected http"),
        ({"url": "http://"}, "expected http:// or https:// and a host"),
        ({"url": "http://h", "MTLSRootCA": "/x"}, "caCert: neither PEM nor a file with it"),
        ({"url": "http://h", "MTLSRenegotiation": "RenegotiateOnceAsClient"}, "is not supported"),
        ({"url": "http://h", "securityToken": "x"}, "are needed together"),
        ({"url": "http://h", "responseTimeout": "soon"}, "responseTimeout: 'soon'"),
        ({"url": "http://h", "errorIfNot2XX": "maybe"}, "expected true or false"),
        ({"url": "http://h", "maxResponseBodySize": "1 MB"}, "expected a size such as 4Mi"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, expected):
    with pytest.raises(ComponentError, match=expected):
        run(HttpBinding(ComponentContext("service")).init(Metadata(metadata)))


def test_a_service_may_want_a_certificate(tmp_path):
    authority = make("authority")
    server = make("server", authority, sans=["IP:127.0.0.1"])
    client = make("client", authority)
    cert, key = server.write(tmp_path, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(cert, key)

    async def answer(request):
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.Response(text=str(subject))

    async def asked(**metadata):
        binding = HttpBinding(ComponentContext("service"))
        await binding.init(Metadata({"url": f"https://127.0.0.1:{port}", **metadata}))
        try:
            return (await binding.invoke("get", BindingData())).data
        finally:
            await binding.close()

    async def main():
        nonlocal port
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        root = {"MTLSRootCA": authority.pem.decode()}
        cert, key = client.write(tmp_path, "client")
        try:
            mine = {"MTLSClientCert": str(cert), "MTLSClientKey": str(key)}
            assert b"client" in await asked(**root, **mine)
            for more in ({}, root):
                with pytest.raises(ComponentError, match=r"certificate|SSL|disconnected"):
                    await asked(**more)
        finally:
            await runner.cleanup()

    port = 0
    run(main())


def test_an_answer_that_is_a_failure_says_more():
    async def work(binding):
        with pytest.raises(Answered, match="received status code 404") as error:
            await binding.invoke("get", BindingData(metadata={"path": "/x?status=404"}))
        return [error.value.metadata[name] for name in ("statusCode", "status")]

    assert with_service(work) == ["404", "404 Not Found"]
