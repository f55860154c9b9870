"""The addresses of a stack's parts: those given in the environment, else those of what the stack starts itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from somagent.deploy.local import postgres, redis, temporal
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.options import Options, Passwords


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where each part answers. Those of Postgres and Redis hold passwords.

    ``given`` names the parts whose address came from the environment: they are not started, only asked.
    """

    given: frozenset[str]
    postgres_owner: str
    postgres_app: str
    postgres_system: str
    redis: str
    temporal: str
    temporal_ui: str
    temporal_namespace: str
    kafka: str


def addresses_of(layout: Layout, options: Options, passwords: Passwords) -> Addresses:
    """The addresses of the stack in this data directory."""
    environment = os.environ
    variables = {postgres.NAME: "POSTGRES_URL", redis.NAME: "REDIS_URL", temporal.NAME: "TEMPORAL_ADDRESS"}
    given = frozenset(name for name, variable in variables.items() if environment.get(variable))
    owner = environment.get("POSTGRES_URL") or postgres.local_url(layout, postgres.OWNER, passwords.postgres_owner)
    return Addresses(
        given=given,
        postgres_owner=owner,
        postgres_app=environment.get("SOMAGENT_POSTGRES_APP_URL")
        or with_login(owner, postgres.APP_ROLE, passwords.postgres_app),
        postgres_system=environment.get("SOMAGENT_POSTGRES_SYSTEM_URL")
        or with_login(owner, postgres.SYSTEM_ROLE, passwords.postgres_system),
        redis=environment.get("REDIS_URL") or redis.local_url(options.ports[redis.NAME], passwords.redis),
        temporal=environment.get("TEMPORAL_ADDRESS") or temporal.address(options.ports[temporal.NAME]),
        temporal_ui=environment.get("TEMPORAL_UI_URL", "")
        if temporal.NAME in given
        else temporal.ui_url(options.ports[temporal.UI]),
        temporal_namespace=environment.get("TEMPORAL_NAMESPACE") or "default",
        kafka=environment.get("KAFKA_BOOTSTRAP_SERVERS", ""),
    )


def with_login(url: str, user: str, password: str) -> str:
    """The same server and database under another role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password)}@{host}"))


def without_password(url: str) -> str:
    """The address for people."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def environment_of(layout: Layout, addresses: Addresses, options: Options, api_port: int) -> dict[str, str]:
    """The environment of SomaGent's own processes: ours, less the owner's address, plus where everything is."""
    inherited = {name: value for name, value in os.environ.items() if name != "POSTGRES_URL"}
    if temporal.NAME not in addresses.given:
        inherited.setdefault("SOMAGENT_TEMPORAL_RETENTION_DAYS", "30")
    return inherited | {
        "SOMAGENT_DATA_DIR": str(layout.root),
        "SOMAGENT_POSTGRES_APP_URL": addresses.postgres_app,
        "SOMAGENT_POSTGRES_SYSTEM_URL": addresses.postgres_system,
        "REDIS_URL": addresses.redis,
        "TEMPORAL_ADDRESS": addresses.temporal,
        "TEMPORAL_NAMESPACE": addresses.temporal_namespace,
        "TEMPORAL_UI_URL": addresses.temporal_ui,
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "SOMAGENT_PORT": str(api_port),
        "SOMAGENT_SHARES": options.shares_as_json(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # the folder of `up` must not shadow packages
    }
