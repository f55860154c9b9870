"""Row-level security: each tenant sees its own rows, held by Postgres itself."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TENANT_TABLES = (
    "users", "idempotency_keys", "outbox", "daily_budgets", "notifications", "memory_namespaces", "review_votes",
    "signing_keys", "installations", "recalls", "capsule_budgets", "jobs", "job_steps", "job_events", "approvals",
    "approval_votes", "attachments", "slm_requests", "memories",
)  # fmt: skip
_OWN = "tenant_id = current_setting('soma.tenant', true)"
_SHARED = (
    f"{_OWN} OR (status IN ('approved', 'recalled') "
    "AND tenant_scope IN ('global', current_setting('soma.tenant', true)))"
)


def upgrade() -> None:
    op.execute("GRANT USAGE ON SCHEMA public TO soma_app, soma_system")
    for table in (*_TENANT_TABLES, "submissions", "tenants"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO soma_app, soma_system")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY system ON {table} TO soma_system USING (true) WITH CHECK (true)")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO soma_app, soma_system")
    for table in _TENANT_TABLES:
        op.execute(f"CREATE POLICY tenant ON {table} TO soma_app USING ({_OWN}) WITH CHECK ({_OWN})")
    op.execute(
        "CREATE POLICY tenant ON tenants TO soma_app USING (id = current_setting('soma.tenant', true)) "
        "WITH CHECK (id = current_setting('soma.tenant', true))"
    )
    op.execute(f"CREATE POLICY tenant_reads ON submissions FOR SELECT TO soma_app USING ({_SHARED})")
    for verb, clause in (
        ("INSERT", f"WITH CHECK ({_OWN})"),
        ("UPDATE", f"USING ({_OWN})"),
        ("DELETE", f"USING ({_OWN})"),
    ):
        op.execute(f"CREATE POLICY tenant_{verb.lower()} ON submissions FOR {verb} TO soma_app {clause}")


def downgrade() -> None:
    for table in (*_TENANT_TABLES, "submissions", "tenants"):
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM soma_app, soma_system")
    for table in (*_TENANT_TABLES, "tenants"):
        op.execute(f"DROP POLICY tenant ON {table}")
    for policy in ("tenant_reads", "tenant_insert", "tenant_update", "tenant_delete"):
        op.execute(f"DROP POLICY {policy} ON submissions")
    for table in (*_TENANT_TABLES, "submissions", "tenants"):
        op.execute(f"DROP POLICY system ON {table}")
