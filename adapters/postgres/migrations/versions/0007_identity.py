"""Identity: tokens cut off by person and moment, and wrong tries counted whether or not there is such a person."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_RIGHTS = {"token_cutoffs": "SELECT, INSERT, UPDATE, DELETE", "login_failures": "SELECT, INSERT, UPDATE, DELETE"}
_OWN = "tenant_id = current_setting('soma.tenant', true)"


def upgrade() -> None:
    op.create_table(
        "token_cutoffs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("cut_off_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name=op.f("pk_token_cutoffs")),
    )
    op.create_table(
        "login_failures",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "person", name=op.f("pk_login_failures")),
    )
    op.create_index(op.f("ix_login_failures_failed_at"), "login_failures", ["failed_at"], unique=False)
    op.drop_column("users", "failed_logins")
    op.drop_column("users", "locked_until")
    for table, rights in _RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO soma_app, soma_system")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY system ON {table} TO soma_system USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY tenant ON {table} TO soma_app USING ({_OWN}) WITH CHECK ({_OWN})")
    op.execute("INSERT INTO gate_changes (kind) VALUES ('cutoffs')")
    op.execute(
        "CREATE TRIGGER gate_changed AFTER INSERT OR UPDATE ON token_cutoffs "
        "FOR EACH STATEMENT EXECUTE FUNCTION soma_gate_changed('cutoffs')"
    )


def downgrade() -> None:
    op.execute("DELETE FROM gate_changes WHERE kind = 'cutoffs'")
    op.drop_table("login_failures")
    op.drop_table("token_cutoffs")
    op.add_column("users", sa.Column("failed_logins", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("users", sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True))
