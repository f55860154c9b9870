"""What can be said of the deployment files in seconds; `make deploy-check` gives them to helm, Compose and promtool."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from somagent.deploy.checks import alerts, compose, dockerfile, known
from somagent.deploy.checks.rendering import CHART, VALUES
from somagent.deploy.checks.report import ROOT


@pytest.fixture(scope="module")
def made_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compose") / ".env"
    subprocess.run(["/bin/sh", compose.FOLDER / "make-env.sh", path], check=True, capture_output=True)
    return path


def test_make_env_makes_a_password_for_each_part_and_never_overwrites(made_env: Path) -> None:
    offered = compose.read_env((compose.FOLDER / ".env.example").read_text())
    secrets = {name for name, value in offered.items() if value == "generated"}
    made = compose.read_env(made_env.read_text())
    assert made.keys() == offered.keys()
    assert len({made[name] for name in secrets}) == len(secrets) > 5
    assert all(len(made[name]) == 48 and made[name].isalnum() for name in secrets)
    assert stat.S_IMODE(made_env.stat().st_mode) == 0o600
    again = subprocess.run(["/bin/sh", compose.FOLDER / "make-env.sh", made_env], capture_output=True, check=False)
    assert again.returncode == 1
    assert compose.read_env(made_env.read_text()) == made


def test_the_compose_file_fits_the_product(made_env: Path) -> None:
    assert list(compose.variable_faults()) == []
    text = compose.with_variables(compose.FILE.read_text(), compose.read_env(made_env.read_text()))
    assert compose.project_faults(yaml.safe_load(text)) == []


def test_the_compose_file_does_not_start_without_passwords() -> None:
    with pytest.raises(ValueError, match=r"make-env\.sh"):
        compose.with_variables(compose.FILE.read_text(), {})


def test_faults_of_a_compose_file_are_seen(made_env: Path) -> None:
    text = compose.with_variables(compose.FILE.read_text(), compose.read_env(made_env.read_text()))
    project: dict[str, Any] = yaml.safe_load(text)
    services = project["services"]
    services["api"]["environment"]["SOMAGENT_LOGLEVEL"] = "info"
    services["api"]["environment"]["SOMAGENT_LOG_LEVEL"] = "loud"
    services["api"]["environment"]["POSTGRES_URL"] = "postgresql://owner"
    services["worker-slm"]["command"] = ["worker", "--role", "slim"]
    services["redis"]["image"] = "redis:latest"
    services["worker-relay"]["stop_grace_period"] = "10s"
    found = "\n".join(compose.project_faults(project))
    for expected in ("SOMAGENT_LOGLEVEL is no setting", "debug", "owner's address", "slim", "not pinned", "drained"):
        assert expected in found


def test_the_dockerfile_is_fit_for_production() -> None:
    assert list(dockerfile.faults(dockerfile.FILE.read_text())) == []


@pytest.mark.parametrize(
    ("good", "bad", "seen"),
    [
        ("USER 10001:10001", "USER root", "USER root"),
        ('CMD ["serve"]', "CMD serve", "exec form"),
        ('CMD ["serve"]', 'CMD ["server"]', "server"),
        ("git tini", "git gcc", "gcc"),
        ("python:3.11.14-slim-bookworm", "python:latest", "not pinned"),
        ("COPY pyproject.toml", "COPY Makefile", "left out by .dockerignore"),
        ("SOMAGENT_PORT=8080", "SOMAGENT_PORT=http", "PORT"),
    ],
)
def test_faults_of_a_dockerfile_are_seen(good: str, bad: str, seen: str) -> None:
    text = dockerfile.FILE.read_text()
    assert good in text
    assert any(seen in fault for fault in dockerfile.faults(text.replace(good, bad)))


def test_what_the_image_needs_is_in_the_builds_context_and_secrets_are_not() -> None:
    for path in ("adapters/settings.py", "capsules/x.yaml", "pyproject.toml", "deploy/docker/healthcheck.py"):
        assert dockerfile.in_context(path), path
    for path in (".git/config", ".venv/bin/python", ".somagent/keys/1.pem", "deploy/compose/.env", "tests/harness.py"):
        assert not dockerfile.in_context(path), path


def test_alerts_and_dashboard_name_what_is_exported_and_runbooks_that_are_there() -> None:
    assert list(alerts.name_faults()) == []


def test_names_are_read_out_of_expressions() -> None:
    expression = 'sum by (le) (rate(a_bucket{x="y_z"}[5m])) / on (b) max(c_total) > 0.5 and absent(up{job="d"} == 1)'
    assert alerts.metrics_of(expression) == {"a_bucket", "c_total", "up"}


@pytest.mark.parametrize("name", VALUES)
def test_the_charts_values_satisfy_its_schema(name: str) -> None:
    validator = _values_schema()
    merged = _merged(yaml.safe_load((CHART / "values.yaml").read_text()), _values(name))
    assert [error.message for error in validator.iter_errors(merged)] == []


def test_every_value_has_its_place_in_the_schema_and_a_default() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"].keys() - {"global"} == defaults.keys()
    faults = [error.json_path for error in _values_schema().iter_errors(defaults)]
    assert faults == ["$.secrets.existingSecret"], "without a secret's name nothing may be installed"


def test_a_misspelt_value_is_refused() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    wrong = _merged(defaults, {"secrets": {"existingSecret": "s"}, "api": {"replicaz": 3}})
    assert not _values_schema().is_valid(wrong)


def test_every_setting_is_explained() -> None:
    text = (ROOT / "docs" / "Deployment.md").read_text()
    assert [name for name in sorted(known.environment_names()) if f"`{name}`" not in text] == []


def test_the_secrets_keys_are_settings() -> None:
    text = (CHART / "values.yaml").read_text()
    for name in ("POSTGRES_URL", "SOMAGENT_POSTGRES_APP_URL", "REDIS_URL", "SLM_API_KEY", "SOMAGENT_WEBHOOKS"):
        assert name in text
        assert name in known.environment_names()


def _values_schema() -> Draft202012Validator:
    schema = json.loads((CHART / "values.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _values(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())
    return values


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As helm merges values: maps into each other, everything else replaced."""
    return base | {
        key: _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in over.items()
    }
