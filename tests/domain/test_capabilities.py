"""Capabilities and names: closed lists and safe forms."""

from __future__ import annotations

import pytest

from somagent.domain.caller import Caller
from somagent.domain.capabilities import NAMED_ONLY, Capability, checked_capabilities, holds, require
from somagent.domain.errors import Code, SomaError
from somagent.domain.names import is_tenant_id, is_user_id


def caller(*capabilities: str) -> Caller:
    return Caller("ann", "acme", frozenset(capabilities), "jti", 0)


def test_everything_holds_all_but_three() -> None:
    assert {"tenant:any", "moderation:bypass", "kill:global"} == NAMED_ONLY
    for capability in Capability:
        assert holds(caller("*"), capability) == (capability not in NAMED_ONLY)
        assert holds(caller(capability), capability)
        assert not holds(caller(), capability)
        assert holds(caller("*", *NAMED_ONLY), capability)


def test_a_missing_one_is_named() -> None:
    with pytest.raises(SomaError, match="capsule:override") as refusal:
        require(caller("capsule:read"), "capsule:override")
    assert refusal.value.code is Code.CAPABILITY_MISSING


def test_only_known_ones_are_given() -> None:
    assert checked_capabilities(["job:read", "*", "job:read"]) == ("job:read", "*")
    with pytest.raises(SomaError, match="job:reed"):
        checked_capabilities(["job:read", "job:reed"])


@pytest.mark.parametrize("name", ["acme", "a", "Acme-1.2_x", "0", "a" * 64])
def test_names_of_tenants(name: str) -> None:
    assert is_tenant_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", "a" * 65, "a\0"])
def test_names_that_no_tenant_has(name: str) -> None:
    assert not is_tenant_id(name)


@pytest.mark.parametrize("name", ["ann", "Ann Li <ann@example.org>", "auth0|5f7c", "é", "a" * 255])
def test_names_of_users(name: str) -> None:
    assert is_user_id(name)


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\n", "a\0b", "a" * 256])
def test_names_that_no_user_has(name: str) -> None:
    assert not is_user_id(name)
