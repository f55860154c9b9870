"""Where a prompt may be worked on."""

from __future__ import annotations

import pytest

from somagent.domain.errors import Code, SomaError
from somagent.domain.policy.residency import require_residency, restriction


@pytest.mark.parametrize("setting", [None, "", [], ()])
@pytest.mark.parametrize("region", ["", "eu-1"])
def test_nothing_said_is_no_restriction(setting: object, region: str) -> None:
    require_residency(region, [restriction("The tenant", setting)])


@pytest.mark.parametrize("setting", ["eu-1", ["eu-1"], ("us-1", " EU-1 ")])
def test_an_allowed_region_passes_whatever_its_case(setting: object) -> None:
    require_residency("Eu-1", [restriction("The tenant", setting)])


@pytest.mark.parametrize("setting", ["us-1", ["us-1", "ap-1"], {"eu-1": True}, 7, ["eu-1", 7], [[]]])
@pytest.mark.parametrize("region", ["", "eu-1"])
def test_another_region_an_unknown_one_and_nonsense_refuse(setting: object, region: str) -> None:
    with pytest.raises(SomaError) as refused:
        require_residency(region, [restriction("The tenant", None), restriction("The capsule", setting)])
    assert refused.value.code is Code.RESIDENCY_REFUSED
    assert "The capsule" in refused.value.detail


def test_everybody_who_restricts_must_allow_it() -> None:
    with pytest.raises(SomaError):
        require_residency("eu-1", [restriction("The tenant", ["eu-1"]), restriction("The request", "us-1")])
