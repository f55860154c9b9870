"""Decides what a stack consists of, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from somagent.deploy.local import children, postgres, redis, temporal
from somagent.deploy.local.addresses import Addresses, addresses_of, environment_of, without_password
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.options import Options, Passwords, load_options, load_passwords, save_options
from somagent.deploy.local.part import Part
from somagent.deploy.local.parts import require_postgres, require_redis, require_temporal
from somagent.deploy.local.ports import choose_ports, require_free
from somagent.deploy.local.state import PartState

DEFAULT_API_PORT = 8080
SERVERS = frozenset({postgres.NAME, redis.NAME, temporal.NAME})
"""The parts that SomaGent's own processes lean on."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user of ``up`` asked for; None where the last ``up``'s choice stays."""

    port: int | None = None
    shares: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts in the order in which they start, and everything that they share."""

    layout: Layout
    addresses: Addresses
    options: Options
    passwords: Passwords
    environment: dict[str, str]

    @property
    def api_port(self) -> int:
        """The API's port."""
        return self.options.ports[children.API]

    def servers(self) -> list[Part]:
        """The servers to start, without those whose address was given. Makes the database cluster when there is none.

        Raises:
            SomaError: ``part_missing``, ``part_failed`` or ``disk_full``.
        """
        given, ports = self.addresses.given, self.options.ports
        parts: list[Part] = []
        if redis.NAME not in given:
            parts.append(redis.part(self.layout, require_redis(), ports[redis.NAME], self.passwords.redis))
        if temporal.NAME not in given:
            namespace, port, ui_port = self.addresses.temporal_namespace, ports[temporal.NAME], ports[temporal.UI]
            parts.append(temporal.part(self.layout, require_temporal(), namespace, port, ui_port))
        if postgres.NAME not in given:
            parts.insert(0, postgres.part(self.layout, require_postgres(), self.passwords.postgres_owner))
        return parts

    def own_processes(self) -> list[Part]:
        """The API and the workers."""
        workers = [
            children.worker_part(role, self.options.ports[children.worker_name(role)], self.environment)
            for role in children.ROLES
        ]
        return [children.api_part(self.api_port, self.environment), *workers]

    def given_parts(self) -> list[PartState]:
        """The parts that others run, with their addresses."""
        known = {
            postgres.NAME: self.addresses.postgres_owner,
            redis.NAME: self.addresses.redis,
            temporal.NAME: f"temporal://{self.addresses.temporal}",
        }
        return [
            PartState(name=name, url=without_password(probe).removeprefix("temporal://"), probe=probe)
            for name, probe in known.items()
            if name in self.addresses.given
        ]

    def preparation_environment(self) -> dict[str, str]:
        """The environment of the preparation, which alone knows the owner's address."""
        return {**self.environment, "POSTGRES_URL": self.addresses.postgres_owner}


def make_plan(layout: Layout, wishes: Wishes) -> Plan:
    """Chooses ports, remembers the choices, makes the passwords.

    Raises:
        SomaError: ``port_taken`` when the API's port is.
    """
    remembered = load_options(layout)
    api_port = wishes.port or remembered.ports.get(children.API, DEFAULT_API_PORT)
    require_free(api_port)
    names = [temporal.NAME, temporal.UI, redis.NAME, *(children.worker_name(role) for role in children.ROLES)]
    chosen = choose_ports(names, remembered.ports, reserved=api_port)
    shares = remembered.shares if wishes.shares is None else wishes.shares
    options = Options(ports={**chosen, children.API: api_port}, shares=shares)
    save_options(layout, options)
    passwords = load_passwords(layout)
    addresses = addresses_of(layout, options, passwords)
    return Plan(layout, addresses, options, passwords, environment_of(layout, addresses, options, api_port))
