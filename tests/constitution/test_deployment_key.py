"""The deployment's own constitution, and the key file that it is verified with."""

from __future__ import annotations

from pathlib import Path

import pytest

from somagent.adapters.keys import KeyRing, kid_of
from somagent.domain.errors import Code, SomaError
from somagent.services.gate.constitutions import Constitutions
from somagent.tests.capsules.platform import until
from somagent.tests.constitution.conftest import Assembly


async def test_a_key_file_that_is_gone_and_comes_back(assembly: Assembly, tmp_path: Path) -> None:
    """As a process meets it that starts without the file."""
    keys = tmp_path / "keys"
    keyring = KeyRing(keys)  # a folder with a key of its own, and not the one that signed
    book = Constitutions(keyring)
    async with assembly.platform.system_db.connection("") as connection:
        await book.load(connection)
    with pytest.raises(SomaError) as caught:
        book.of(assembly.tenant)
    assert caught.value.code is Code.CONSTITUTION_UNVERIFIABLE
    for file in assembly.platform.settings.keys.glob("*.pem"):
        (keys / file.name).write_bytes(file.read_bytes())

    async def verified() -> bool:
        return book.standing(assembly.tenant).constitution is not None

    await until(verified)
    assert keyring.find(kid_of(assembly.platform.keyring.active)) is not None
    assert book.of(assembly.tenant).version >= 1
