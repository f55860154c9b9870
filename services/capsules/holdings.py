"""What an installed capsule holds: a memory namespace and a budget row; and the lock that orders it with recalls."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import CapsuleBudget, Installation, Memory, MemoryNamespace, Tenant
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import Code, SomaError

OWNER_KIND = "installation"


def namespace_of(capsule_id: str, environment: str) -> str:
    """The memory namespace that a capsule has for itself in an environment."""
    return f"capsule/{environment}/{capsule_id}"


async def lock_version(session: AsyncSession, capsule_id: str, version: str) -> None:
    """Until the transaction ends: no recall of this version while one becomes active, and the other way round."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{capsule_id}@{version}", 0))))


async def take_namespace(session: AsyncSession, row: Installation) -> None:
    """Own the capsule's namespace: a new one, or the one an earlier installation of the same capsule made.

    Raises:
        SomaError: ``namespace_conflict``: it, or one the definition reads, is somebody else's and not shared.
    """
    name = namespace_of(row.capsule_id, row.environment)
    made = insert(MemoryNamespace).values(
        tenant_id=row.tenant_id, namespace=name, owner_kind=OWNER_KIND, owner_id=str(row.id)
    )
    await session.execute(made.on_conflict_do_nothing())
    owner: MemoryNamespace = (await session.scalars(_namespaces(row, [name]))).one()
    if not await _is_ours(session, row, owner):
        raise _conflict(name, owner)
    definition = CapsuleDefinition.model_validate(row.definition)
    read = {item.namespace for item in definition.knowledge}
    others: Iterable[MemoryNamespace] = await session.scalars(_namespaces(row, read))
    for other in others:
        if not other.shared and not await _is_ours(session, row, other):
            raise _conflict(other.namespace, other)


async def release_own_namespace(session: AsyncSession, row: Installation) -> None:
    """Give back what this very installation made; what an earlier one made stays."""
    await session.execute(
        delete(MemoryNamespace).where(
            MemoryNamespace.tenant_id == row.tenant_id,
            MemoryNamespace.namespace == namespace_of(row.capsule_id, row.environment),
            MemoryNamespace.owner_kind == OWNER_KIND,
            MemoryNamespace.owner_id == str(row.id),
        )
    )


async def release_namespaces(session: AsyncSession, row: Installation) -> None:
    """Give back the capsule's namespace, whichever installation made it, unless something is remembered in it."""
    name = namespace_of(row.capsule_id, row.environment)
    used = select(Memory.id).where(Memory.tenant_id == row.tenant_id, Memory.namespace == name).exists()
    await session.execute(
        delete(MemoryNamespace).where(
            MemoryNamespace.tenant_id == row.tenant_id,
            MemoryNamespace.namespace == name,
            MemoryNamespace.owner_kind == OWNER_KIND,
            ~used,
        )
    )


async def set_budget(session: AsyncSession, row: Installation) -> None:
    """Write what a run may spend: the definition's budget, else the tenant's daily limit.

    Raises:
        SomaError: ``budget_above_limit``.
    """
    limit = await _daily_limit(session, row)
    own = _own_budget(row)
    if own is not None and own > limit:
        raise SomaError(
            Code.BUDGET_ABOVE_LIMIT,
            f"{row.capsule_id} {row.version} may spend {own:,} tokens a run, the tenant {limit:,} a day. "
            "Raise the tenant's limit, or lower the capsule's budget.",
        )
    await _write_budget(session, row, limit if own is None else own)


async def put_budget_back(session: AsyncSession, row: Installation) -> None:
    """The same for a version that was in force before: a limit lowered since must not stop the way back."""
    limit = await _daily_limit(session, row)
    own = _own_budget(row)
    await _write_budget(session, row, limit if own is None else own)


async def unset_budget(session: AsyncSession, row: Installation) -> None:
    """Delete the budget row that belongs to this installation."""
    await session.execute(delete(CapsuleBudget).where(CapsuleBudget.installation_id == row.id))


async def restore_budget(session: AsyncSession, row: Installation, former: Installation | None) -> None:
    """The budget row as it was before this installation wrote it: the version still in force, or none."""
    mine = select(CapsuleBudget.installation_id).where(CapsuleBudget.installation_id == row.id)
    if await session.scalar(mine) is None:
        return
    if former is None:
        await unset_budget(session, row)
    else:
        await put_budget_back(session, former)


async def _write_budget(session: AsyncSession, row: Installation, tokens: int) -> None:
    key = {"tenant_id": row.tenant_id, "capsule_id": row.capsule_id, "environment": row.environment}
    values = {"installation_id": row.id, "budget_tokens": tokens}
    written = insert(CapsuleBudget).values(**key, **values)
    await session.execute(written.on_conflict_do_update(index_elements=list(key), set_=values))


async def _daily_limit(session: AsyncSession, row: Installation) -> int:
    return (await session.scalars(select(Tenant.daily_tokens).where(Tenant.id == row.tenant_id))).one()


def _own_budget(row: Installation) -> int | None:
    return CapsuleDefinition.model_validate(row.definition).policies.budget_tokens


def _namespaces(row: Installation, names: Collection[str]) -> Select[Any]:
    return select(MemoryNamespace).where(
        MemoryNamespace.tenant_id == row.tenant_id, MemoryNamespace.namespace.in_(names)
    )


async def _is_ours(session: AsyncSession, row: Installation, owner: MemoryNamespace) -> bool:
    if owner.owner_kind != OWNER_KIND:
        return False
    if owner.owner_id == str(row.id):
        return True
    maker = await session.get(Installation, UUID(owner.owner_id))
    return maker is not None and (maker.capsule_id, maker.environment) == (row.capsule_id, row.environment)


def _conflict(name: str, owner: MemoryNamespace) -> SomaError:
    return SomaError(
        Code.NAMESPACE_CONFLICT,
        f"The memory namespace {name} belongs to {owner.owner_kind} {owner.owner_id} and is not shared.",
    )
