"""Leave room in the pages of rows that change often, so that a change touches no index."""

from collections.abc import Sequence

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05)")
    op.execute("ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02)")
    op.execute("ALTER TABLE daily_budgets SET (fillfactor = 50)")


def downgrade() -> None:
    for table in ("jobs", "outbox", "daily_budgets"):
        op.execute(f"ALTER TABLE {table} RESET (fillfactor, autovacuum_vacuum_scale_factor)")
