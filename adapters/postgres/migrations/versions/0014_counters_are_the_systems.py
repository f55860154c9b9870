"""The gate's counters are for the role that keeps the gate; no tenant's statement needs them."""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("REVOKE ALL ON gate_changes FROM soma_app")
    op.execute("ALTER TABLE gate_changes ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY system ON gate_changes FOR SELECT TO soma_system USING (true)")


def downgrade() -> None:
    op.execute("DROP POLICY system ON gate_changes")
    op.execute("ALTER TABLE gate_changes DISABLE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT ON gate_changes TO soma_app")
