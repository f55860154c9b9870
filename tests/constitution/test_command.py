"""The way that docs/Constitution.md describes: with the command and HTTP alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from somagent.domain.policy.constitution import DEFAULT, DEFAULT_HASH
from somagent.tests.constitution.conftest import Assembly


def somagent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command."""
    program = Path(sys.executable).parent / "somagent"
    return subprocess.run(
        [program, "constitution", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


async def test_from_a_key_to_what_is_in_force(assembly: Assembly, tmp_path: Path) -> None:
    key, file = tmp_path / "ada.pem", tmp_path / "constitution.json"
    made = somagent("keygen", key)
    assert made.returncode == 0, made.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    registered = await assembly.ada.post("/v1/signing-keys", json=json.loads(made.stdout))
    assert registered.status_code == 201, registered.text
    shipped = json.loads(somagent("show").stdout)
    assert shipped == DEFAULT.model_dump(mode="json")
    file.write_text(json.dumps({**shipped, "version": 2, "threshold": 0.74}, indent=4))
    shown = somagent("show", file).stdout.split()
    signed = somagent("sign", file, "--key", key, "--output", "json")
    assert signed.returncode == 0, signed.stderr
    answer = await assembly.ada.post("/v1/constitution/proposals", json=json.loads(signed.stdout))
    assert answer.status_code == 202, answer.text
    assert answer.json()["hash"] == shown[-1]
    proposal = await assembly.examined(answer.json()["id"])
    for person in (assembly.ben, assembly.cyd):
        await assembly.vote(person, proposal)
    assert (await assembly.in_force())["content"]["threshold"] == 0.74
    alone = somagent("sign", file, "--key", key).stdout.strip()
    assert alone == json.loads(signed.stdout)["signature"]
    canonical = somagent("show", file, "--canonical").stdout
    checked = await assembly.ada.post("/v1/constitution/validate", json={"content": json.loads(file.read_text())})
    assert checked.json()["canonical"] == canonical


def test_what_cannot_be_signed(tmp_path: Path) -> None:
    key, file = tmp_path / "key.pem", tmp_path / "constitution.json"
    somagent("keygen", key)
    before = key.read_bytes()
    again = somagent("keygen", key)
    assert (again.returncode, key.read_bytes()) == (1, before), "a key is never written over"
    file.write_text('{"version": 2, "weights": {"safety": -1}}')
    faulty = somagent("sign", file, "--key", key)
    assert (faulty.returncode, faulty.stdout) == (1, "")
    assert "weights.safety" in faulty.stderr
    assert "threshold: This field is required" in faulty.stderr
    file.write_text("no JSON")
    assert somagent("show", file).returncode == 1
    file.write_text(DEFAULT.model_dump_json())
    assert DEFAULT_HASH in somagent("show", file).stdout
    assert somagent("sign", file, "--key", file).returncode == 1
    assert somagent("sign", file).returncode == 2
