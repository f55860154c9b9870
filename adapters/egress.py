"""Which addresses outside the machine may be reached: public ones, and those that the operator names.

A name is resolved once; every address it has is checked, and the connection goes to a checked address itself. A name
that changes its answer between the check and the connection (DNS rebinding) therefore gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from somagent.domain.errors import Code, SomaError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}

# Not covered by the standard library's flags, or not on every Python 3.11: shared address space (RFC 6598), protocol
# assignments (RFC 6890), benchmarking (RFC 2544), 6to4 relays (RFC 7526), NAT64 for local use (RFC 8215), and the
# metadata address of Azure, which lies in a public range.
_SPECIAL: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10",
        "192.0.0.0/24",
        "198.18.0.0/15",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "64:ff9b:1::/48",
        "100::/64",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL points at; checked by its text alone."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class AllowRule:
    """One entry of the operator's list: a host name or a network, and one port or (None) every port."""

    host: str | None
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read ``host``, ``host:port``, ``host:*``, an IP or a network; IPv6 with a port stands in brackets.

        Raises:
            ValueError: the entry cannot be read.
        """
        whole = _network(entry.strip("[]"))
        if whole is not None:
            return cls(None, whole, None)
        name, port = _split_port(entry)
        network = _network(name.strip("[]"))
        if network is None and (not name or any(mark in name for mark in " /@[]:*")):
            raise ValueError(f"{entry!r} is no host, address or network")
        return cls(None if network else _plain_name(name), network, port)

    def allows(self, host: str, address: Address, port: int) -> bool:
        """Whether this entry lets ``host`` be reached at ``address`` and ``port``."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return any(candidate in self.network for candidate in _same_address(address, self.network.version))
        return self.host == _plain_name(host)


class EgressRules:
    """Decides what may be reached.

    Args:
        allow: the operator's comma-separated list (``settings.egress_allow``).

    Raises:
        ValueError: an entry of the list cannot be read.
    """

    def __init__(self, allow: str = "") -> None:
        self._rules = tuple(AllowRule.parse(entry.strip()) for entry in allow.split(",") if entry.strip())

    def target(self, url: str) -> Target:
        """What ``url`` points at.

        Raises:
            SomaError: EGRESS_REFUSED for another scheme than http and https or for credentials in the URL;
                PARAMS_INVALID where the URL cannot be read.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SomaError(Code.PARAMS_INVALID, f"The URL cannot be read: {error}.") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise SomaError(Code.EGRESS_REFUSED, f"The scheme {parts.scheme!r} is refused; use http or https.")
        if "@" in parts.netloc:
            raise SomaError(Code.EGRESS_REFUSED, "Credentials in a URL are refused; send them in a header.")
        if not parts.hostname or any(character.isspace() or character in "\\\0" for character in url):
            raise SomaError(Code.PARAMS_INVALID, "The URL has no readable host.")
        return Target(parts.scheme, parts.hostname, DEFAULT_PORTS[parts.scheme] if port is None else port)

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of ``host``, every one of them allowed, in the order to try.

        Raises:
            SomaError: EGRESS_REFUSED where any address of it is not allowed.
            OSError: the name does not resolve.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from error
        addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        self.check(host, port, addresses)
        return addresses

    def check(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Refuse unless every address is public or allowed by the operator.

        Raises:
            SomaError: EGRESS_REFUSED.
        """
        for text in addresses:
            address = ip_address(text.partition("%")[0])
            if is_public(address) or any(rule.allows(host, address, port) for rule in self._rules):
                continue
            raise SomaError(
                Code.EGRESS_REFUSED,
                f"{host!r} is at {text}, which is not a public address. The operator can allow it by "
                "SOMAGENT_EGRESS_ALLOW.",
            )


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also when it wraps an IPv4 address."""
    wrapped = _wrapped(address)
    if wrapped is not None:
        return is_public(wrapped)
    if address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback:
        return False
    if address.is_link_local or address.is_private or not address.is_global:
        return False
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return not any(address in network for network in _SPECIAL if network.version == address.version)


def _wrapped(address: Address) -> IPv4Address | None:
    """The IPv4 address within a mapped, compatible, 6to4, Teredo or NAT64 one."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _same_address(address: Address, version: int) -> list[Address]:
    """The forms of an address that a network of ``version`` can hold; ::ffff:10.0.0.1 is 10.0.0.1."""
    forms: list[Address] = [address]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        forms.append(address.ipv4_mapped)
    return [form for form in forms if form.version == version]


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if not colon or port.endswith("]"):
        return entry, None
    if port == "*":
        return name, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{entry!r} has no port between 1 and 65535")
    return name, int(port)


def _plain_name(host: str) -> str:
    return host.rstrip(".").lower()
