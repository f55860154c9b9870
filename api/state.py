"""What the API holds open while it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from temporalio.client import Client

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.adapters.settings import Settings
from somagent.adapters.slm.registry import providers_from
from somagent.adapters.temporal.client import connect
from somagent.adapters.vault import Vault
from somagent.services.admission import Admission
from somagent.services.constitution.founding import found
from somagent.services.gate.gate import Gate, open_gate
from somagent.services.gate.refusals import GateRefusals
from somagent.services.identity.login import Login
from somagent.services.identity.login_limits import LoginLimits
from somagent.services.identity.oidc import OidcLogin
from somagent.services.identity.passwords import Passwords
from somagent.services.jobs.reading import FinishedJobs
from somagent.services.memory import MemoryService
from somagent.services.moderation.guard import Moderation
from somagent.services.notifications import Channels
from somagent.services.policy.cache import VerdictCache
from somagent.services.policy.engine import PolicyEngine
from somagent.services.sessions.telling import TurnTeller
from somagent.services.slm.asking import Asking
from somagent.services.starter import Starter
from somagent.services.tokens import TokenVerifier
from somagent.services.wakeups import Wakeups

_REDIS_SECONDS = 2.0
_PATIENCE_SECONDS = 3.0
_STATEMENT_SECONDS = 10.0
"""How long a request waits for a connection to Postgres, and for one statement."""


@dataclass(frozen=True, slots=True)
class State:
    """One per process, given to every request as ``request.state.soma``.

    Attributes:
        app_db: Postgres as ``soma_app``: each unit of work sees one tenant.
        system_db: Postgres as ``soma_system``: across tenants; for health, metrics and set-up only.
        redis: does not connect before its first command, and fails within 2 s.
        temporal: does not connect before its first call.
        gate: what governs at this moment, in memory.
        policy: verdicts on prompts and acts; fails closed.
        moderation: screens prompts and counts strikes; fails closed.
        admission: the stages of the gate that a prompt passes, in order.
        asking: puts questions to models, through the queue and budgets.
        wakeups: tells watchers that something has changed.
        oidc: login with an outside provider, where one is configured.
        turn_teller: puts recorded turns in line.
        login: from credentials to tokens, with the hashing of passwords and the vault of second factors.
        starter: tells Temporal in the background what a request has recorded.
        folder: the shipped capsules.
        memory: embeds by the configured provider.
        channels: where notifications can go.
    """

    settings: Settings
    app_db: Database
    system_db: Database
    redis: Redis
    temporal: Client
    keyring: KeyRing
    verifier: TokenVerifier
    gate: Gate
    policy: PolicyEngine
    moderation: Moderation
    admission: Admission
    asking: Asking
    wakeups: Wakeups
    turn_teller: TurnTeller
    login: Login
    oidc: OidcLogin
    starter: Starter
    finished_jobs: FinishedJobs
    folder: CapsulesFolder
    memory: MemoryService
    channels: Channels

    async def tenant_exists(self, tenant_id: str) -> bool:
        """Whether there is such a tenant."""
        async with self.app_db.connection(tenant_id) as connection:
            return bool(await connection.fetchval("SELECT true FROM tenants WHERE id = $1", tenant_id))


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[State]:
    """Open everything, and close it in reverse. Redis and Temporal may be away.

    Raises:
        SomaError: ``database_unavailable``; ``validation_failed`` for webhooks that cannot be used.
    """
    async with AsyncExitStack() as stack:
        app_db = await Database.open(
            settings.postgres_app_url.get_secret_value(),
            pool_size=settings.postgres_pool_size,
            patience=_PATIENCE_SECONDS,
            statement_seconds=_STATEMENT_SECONDS,
        )
        stack.push_async_callback(app_db.close)
        system_db = await Database.open(
            settings.postgres_system_url.get_secret_value(),
            pool_size=4,
            patience=_PATIENCE_SECONDS,
            statement_seconds=_STATEMENT_SECONDS,
        )
        stack.push_async_callback(system_db.close)
        redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
        )
        stack.push_async_callback(redis.aclose)
        keyring = KeyRing(settings.keys)
        async with system_db.connection("") as connection:
            await found(connection, keyring)  # deployments without `somagent up` have nobody else to do it
        gate = await stack.enter_async_context(open_gate(settings, system_db, keyring))
        app_db.guard = gate.watch.ensure_fresh  # while Postgres does not answer, nobody waits for it twice
        verdicts = VerdictCache(settings.redis_url.get_secret_value())
        stack.push_async_callback(verdicts.close)
        temporal = await connect(settings, lazy=True)
        starter = Starter(temporal, app_db)
        starter.start()
        stack.push_async_callback(starter.close)
        turn_teller = TurnTeller(temporal, starter)
        stack.push_async_callback(turn_teller.close)
        providers = providers_from(settings)
        stack.push_async_callback(providers.close)
        policy = PolicyEngine(gate, app_db, verdicts)
        moderation = Moderation(app_db, bypass_allowed=settings.allow_moderation_bypass)
        login = Login(
            app_db,
            keyring,
            gate,
            Passwords(),
            Vault(settings.keys),
            LoginLimits(settings.redis_url.get_secret_value()),
        )
        oidc = OidcLogin(settings, redis, login)
        stack.push_async_callback(oidc.close)
        yield State(
            settings=settings,
            app_db=app_db,
            system_db=system_db,
            redis=redis,
            temporal=temporal,
            keyring=keyring,
            verifier=TokenVerifier(keyring, GateRefusals(gate)),
            gate=gate,
            policy=policy,
            moderation=moderation,
            admission=Admission(app_db, gate, moderation, policy, settings.region),
            asking=Asking(app_db, RedisStreams(redis), redis),
            wakeups=Wakeups(redis),
            turn_teller=turn_teller,
            login=login,
            oidc=oidc,
            starter=starter,
            finished_jobs=FinishedJobs(),
            folder=CapsulesFolder(settings.capsules_dir),
            memory=MemoryService(providers.embedding),
            channels=Channels.from_settings(settings),
        )


async def check_reachable(settings: Settings) -> None:
    """Ask Postgres once, so that a process that cannot serve says so and ends before it listens.

    Raises:
        SomaError: ``database_unavailable``.
    """
    for url in (settings.postgres_app_url, settings.postgres_system_url):
        database = await Database.open(url.get_secret_value(), pool_size=1)
        await database.close()
