"""The kill switch: which switch stopped a job, and an admission that no stop can be overtaken by"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Whoever admits work holds the lock shared until it commits; whoever engages a switch holds it alone. So a job is
# either there when the switch looks for what to stop, or it is refused. The function is volatile, so that its
# second statement sees what was committed while the first one waited.
_STOPPED = """
CREATE FUNCTION soma_stopped(p_tenant text, p_capsule text, p_runs text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('kill_switches', 0));
  RETURN EXISTS (
    SELECT 1 FROM kill_switches WHERE lifted_at IS NULL AND (scope = 'global' OR tenant_id = p_tenant AND (
      scope = 'tenant' OR scope = 'capsule' AND target = p_capsule OR scope = 'run' AND target = ANY(p_runs))));
END $$
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("kill_switch_id", sa.UUID(), nullable=True))
    op.create_index(
        op.f("ix_jobs_kill_switch_id"),
        "jobs",
        ["kill_switch_id"],
        postgresql_where=sa.text("kill_switch_id IS NOT NULL"),
    )
    op.execute(_STOPPED)
    op.execute("REVOKE ALL ON FUNCTION soma_stopped FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION soma_stopped TO soma_app, soma_system")


def downgrade() -> None:
    op.execute("DROP FUNCTION soma_stopped")
    op.drop_index(op.f("ix_jobs_kill_switch_id"), "jobs")
    op.drop_column("jobs", "kill_switch_id")
