"""http.request against a server on a real socket."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from somagent.adapters.egress import EgressRules
from somagent.adapters.egress_transport import EgressTransport
from somagent.adapters.settings import Settings
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.domain.errors import Code, SomaError
from somagent.tests.tools.bench import Bench
from somagent.tests.tools.web import Web, serve


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server


@pytest.fixture
async def allowed(web: Web, context: ToolContext) -> AsyncIterator[Bench]:
    """A bench whose operator allows the test's own server, and nothing else that is not public."""
    registry = ToolRegistry(Settings(egress_allow=f"127.0.0.1:{web.port}"))
    yield Bench(registry, context)
    await registry.close()


async def test_parses_json_and_says_who_asks(allowed: Bench, web: Web) -> None:
    answer = await allowed.get(
        "http.request", method="POST", url=web.url("/echo?q=é"), headers={"X-Key": "k"}, body={"a": [1, "é"]}
    )
    assert answer["status"] == 200
    assert answer["headers"]["content-type"] == "application/json"
    asked = answer["body"]
    assert asked["body"] == '{"a": [1, "é"]}'
    assert asked["headers"]["idempotency-key"] == "job:step"
    assert asked["headers"]["content-type"].startswith("application/json")
    assert asked["headers"]["x-key"] == "k"
    assert asked["headers"]["host"] == f"127.0.0.1:{web.port}"


async def test_a_text_body_goes_as_it_is_and_headers_can_be_given(allowed: Bench, web: Web) -> None:
    answer = await allowed.get(
        "http.request",
        method="PUT",
        url=web.url("/echo"),
        body="a;b\n",
        headers={"Content-Type": "text/csv", "Idempotency-Key": "mine"},
    )
    assert answer["body"]["body"] == "a;b\n"
    assert answer["body"]["headers"]["content-type"] == "text/csv"
    assert answer["body"]["headers"]["idempotency-key"] == "mine"


async def test_a_safe_method_carries_no_idempotency_key(allowed: Bench, web: Web) -> None:
    answer = await allowed.get("http.request", url=web.url("/echo"))
    assert "idempotency-key" not in answer["body"]["headers"]
    assert (await allowed.get("http.request", method="HEAD", url=web.url("/echo")))["body"] == ""


@pytest.mark.parametrize("status", [204, 404, 429, 500, 503])
async def test_an_answer_is_an_answer(allowed: Bench, web: Web, status: int) -> None:
    answer = await allowed.get("http.request", url=web.url(f"/status?code={status}"))
    assert answer["status"] == status
    assert answer["headers"]["retry-after"] == "7"


@pytest.mark.parametrize(
    ("raw", "media_type", "body"),
    [
        (b"caf\xe9", "text/plain; charset=iso-8859-1", "café"),
        (b"\xff\xd8\xff", "image/jpeg", {"base64": "/9j/"}),
        (b"a\0b", "text/plain", {"base64": "YQBi"}),
        (b"{not json", "application/json", "{not json"),
        (b'"\\u0000"', "application/json", '"\\u0000"'),
        (b'"\\ud800"', "application/json", '"\\ud800"'),
        (b"NaN", "application/json", "NaN"),
        (b'{"a": "\\u00e9"}', "application/problem+json", {"a": "é"}),
        (b"x", "text/plain; charset=nonsense", {"base64": "eA=="}),
    ],
)
async def test_bodies(allowed: Bench, web: Web, raw: bytes, media_type: str, body: object) -> None:
    answer = await allowed.get("http.request", url=web.url(f"/raw?hex={raw.hex()}&type={quote(media_type)}"))
    assert answer["body"] == body


async def test_follows_redirects_and_checks_each(allowed: Bench, web: Web) -> None:
    to = quote(web.url("/echo"))
    answer = await allowed.get("http.request", method="POST", body="x", url=web.url(f"/redirect?to={to}"))
    assert answer["body"]["method"] == "GET"
    answer = await allowed.get("http.request", method="POST", body="x", url=web.url(f"/redirect?code=307&to={to}"))
    assert (answer["body"]["method"], answer["body"]["body"]) == ("POST", "x")
    for target in (
        "http://127.0.0.1:1/", "http://localhost:80/", "http://[::1]/", "http://169.254.169.254/latest/", "file:///etc/passwd",
        f"http://user@127.0.0.1:{web.port}/echo", "ftp://example.org/",
    ):  # fmt: skip
        await allowed.refused("http.request", Code.EGRESS_REFUSED, url=web.url(f"/redirect?to={quote(target)}"))
    error = await allowed.refused("http.request", Code.HTTP_FAILED, url=web.url("/loop"))
    assert not error.retryable


async def test_a_redirect_to_another_origin_carries_no_secret(web: Web, context: ToolContext) -> None:
    with serve() as other:
        registry = ToolRegistry(Settings(egress_allow="127.0.0.1"))
        answer = await Bench(registry, context).get(
            "http.request",
            url=web.url(f"/redirect?to={quote(other.url('/echo'))}"),
            headers={"X-Api-Key": "secret", "Authorization": "Bearer secret", "Cookie": "a=secret"},
        )
        await registry.close()
    assert "secret" not in str(answer["body"])


async def test_cookies_do_not_pass_from_one_step_to_another(allowed: Bench, web: Web) -> None:
    await allowed.run("http.request", url=web.url("/echo"))
    answer = await allowed.get("http.request", url=web.url("/echo"))
    assert "cookie" not in answer["body"]["headers"]


async def test_limits(allowed: Bench, web: Web) -> None:
    await allowed.refused("http.request", Code.RESPONSE_TOO_LARGE, url=web.url("/large"))
    await allowed.refused("http.request", Code.RESPONSE_TOO_LARGE, url=web.url("/bomb"))
    beats: list[int] = []
    hurried = replace(allowed.context, timeout_seconds=0.5, heartbeat=lambda: beats.append(1))
    for path in ("/slow?seconds=3", "/drip"):
        error = await Bench(allowed.registry, hurried).refused("http.request", Code.HTTP_FAILED, url=web.url(path))
        assert error.retryable
    assert beats


async def test_failures_of_the_network_can_be_tried_again(allowed: Bench, web: Web, context: ToolContext) -> None:
    assert (await allowed.refused("http.request", Code.HTTP_FAILED, url=web.url("/broken"))).retryable
    registry = ToolRegistry(Settings(egress_allow="127.0.0.1"))
    bench = Bench(registry, context)
    assert (await bench.refused("http.request", Code.HTTP_FAILED, url="http://127.0.0.1:1/")).retryable
    assert (await bench.refused("http.request", Code.HTTP_FAILED, url="http://nowhere.invalid/")).retryable
    await registry.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",  # noqa: S104
     "169.254.169.254", "10.0.0.1", "192.168.0.1", "[fd00:ec2::254]", "[fe80::1]", "127。0。0。1"],
)  # fmt: skip
async def test_inner_addresses_are_refused(bench: Bench, web: Web, host: str) -> None:
    await bench.refused("http.request", Code.EGRESS_REFUSED, url=web.url("/echo", host))
    assert web.asked == []


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"Proxy-Authorization": "x"}, {"A": "b\r\nC: d"}, {"a b": "c"}])
async def test_headers_that_cannot_be_given(allowed: Bench, web: Web, headers: dict[str, str]) -> None:
    await allowed.refused("http.request", Code.PARAMS_INVALID, url=web.url("/echo"), headers=headers)


async def test_cancelling_ends_the_exchange(allowed: Bench, web: Web) -> None:
    task = asyncio.create_task(allowed.run("http.request", url=web.url("/slow?seconds=2")))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await allowed.get("http.request", url=web.url("/echo")))["status"] == 200


async def test_tls_is_checked_against_the_name_while_the_connection_is_pinned(tmp_path: Path) -> None:
    trust, identity = _certificate(tmp_path, "localhost")
    with serve(identity) as web:
        transport = EgressTransport(EgressRules("127.0.0.0/8,::1"), ssl_context=trust)
        client = httpx.AsyncClient(transport=transport)
        answer = await client.get(web.url("/echo", "localhost"))
        assert answer.json()["headers"]["host"] == f"localhost:{web.port}"
        with pytest.raises(Exception, match="certificate"):
            await client.get(web.url("/echo", "127.0.0.1"))
        with pytest.raises(SomaError):
            await client.get(web.url("/echo", "10.0.0.1"))
        await transport.aclose()


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Who trusts a fresh certificate for ``name``, and who has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("10.9.8.7"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = folder / "chain.pem"
    chain.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_cert_chain(chain)
    return ssl.create_default_context(cafile=str(chain)), identity
