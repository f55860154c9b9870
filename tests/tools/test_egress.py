"""Which addresses may be reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.adapters.egress import AllowRule, EgressRules, is_public
from somagent.domain.errors import Code, SomaError


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9",  # noqa: S104
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fec0::1", "ff02::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))
    with pytest.raises(SomaError) as caught:
        EgressRules().check("name.example", 80, ["93.184.215.14", text])
    assert caught.value.code == Code.EGRESS_REFUSED


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_that_are_public(text: str) -> None:
    assert is_public(ip_address(text))
    EgressRules().check("name.example", 80, [text])


@given(address=st.ip_addresses(v=4))
def test_wrapping_an_address_changes_nothing(address: IPv4Address) -> None:
    number = int(address)
    wrapped = [
        IPv6Address((0xFFFF << 32) + number),
        IPv6Address((0x2002 << 112) + (number << 80) + 1),
        IPv6Address((0x64FF9B << 96) + number),
    ]
    assert {is_public(form) for form in wrapped} == {is_public(address)}
    if is_public(address):
        assert address.is_global
        inner = address.is_private or address.is_loopback or address.is_link_local
        assert not inner
        assert not address.is_multicast


@pytest.mark.parametrize(
    ("allow", "host", "port", "address", "allowed"),
    [
        ("127.0.0.1", "x", 80, "127.0.0.1", True),
        ("127.0.0.1:81", "x", 80, "127.0.0.1", False),
        ("127.0.0.1:80", "x", 80, "::ffff:127.0.0.1", True),
        ("10.0.0.0/8", "x", 80, "10.1.2.3", True),
        ("10.0.0.0/8:443", "x", 80, "10.1.2.3", False),
        ("10.0.0.0/8:443, 10.1.0.0/16:80", "x", 80, "10.1.2.3", True),
        ("10.0.0.0/8", "x", 80, "11.0.0.1", True),
        ("git.corp", "git.corp", 80, "10.1.2.3", True),
        ("git.corp", "GIT.corp.", 80, "10.1.2.3", True),
        ("git.corp:*", "git.corp", 1234, "10.1.2.3", True),
        ("git.corp:443", "git.corp", 80, "10.1.2.3", False),
        ("git.corp", "evil.git.corp", 80, "10.1.2.3", False),
        ("::1", "x", 80, "::1", True),
        ("[::1]:80", "x", 80, "::1", True),
        ("[::1]:81", "x", 80, "::1", False),
        ("fd00::/8", "x", 80, "fd12::1", True),
        ("", "x", 80, "10.0.0.1", False),
    ],
)
def test_what_the_operator_allows(allow: str, host: str, port: int, address: str, allowed: bool) -> None:
    rules = EgressRules(allow)
    if allowed:
        rules.check(host, port, [address])
    else:
        with pytest.raises(SomaError):
            rules.check(host, port, [address])


@pytest.mark.parametrize("entry", ["http://x", "x/y", "x:port", "x:0", "x:70000", "a b", "u@h", "10.0.0.0/99", "*"])
def test_an_unreadable_entry_is_no_silent_hole(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AllowRule.parse(entry)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", Code.EGRESS_REFUSED), ("ftp://example.org/", Code.EGRESS_REFUSED),
        ("gopher://example.org", Code.EGRESS_REFUSED), ("//example.org/", Code.EGRESS_REFUSED),
        ("example.org", Code.EGRESS_REFUSED), ("http://user:secret@example.org/", Code.EGRESS_REFUSED),
        ("http://example.org@127.0.0.1/", Code.EGRESS_REFUSED), ("http:///x", Code.PARAMS_INVALID),
        ("http://exa mple.org/", Code.PARAMS_INVALID), ("http://example.org:99999/", Code.PARAMS_INVALID),
        ("http://[::1/", Code.PARAMS_INVALID), ("http://example.org\\@127.0.0.1/", Code.EGRESS_REFUSED),
    ],
)  # fmt: skip
def test_urls_that_are_refused_by_their_text(url: str, code: Code) -> None:
    with pytest.raises(SomaError) as caught:
        EgressRules().target(url)
    assert caught.value.code == code
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "::1", "::ffff:127.0.0.1",
     "0", "0.0.0.0", "169.254.169.254", "2852039166"],  # noqa: S104
)  # fmt: skip
async def test_every_way_to_write_an_inner_address_is_refused(host: str) -> None:
    with pytest.raises(SomaError) as caught:
        await EgressRules().resolve(host, 80)
    assert caught.value.code == Code.EGRESS_REFUSED
