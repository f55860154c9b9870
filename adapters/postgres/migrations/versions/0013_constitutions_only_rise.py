"""A constitution's version only rises; whatever touches one, or a key that it is verified with, is noticed at once."""

from collections.abc import Sequence

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_WATCHED = (
    ("constitutions", "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
    ("signing_keys", "INSERT OR UPDATE OF public_key OR DELETE OR TRUNCATE"),
)
# An equal version is the primary key's matter.
_RISES = """
CREATE FUNCTION soma_constitution_rises() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
  IF NEW.version < (SELECT max(version) FROM constitutions WHERE tenant_id = NEW.tenant_id) THEN
    RAISE EXCEPTION 'a constitution''s version only rises' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.execute("DROP TRIGGER gate_changed ON constitutions")
    for table, events in _WATCHED:
        op.execute(
            f"CREATE TRIGGER gate_changed AFTER {events} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION soma_gate_changed('constitutions')"
        )
    op.execute(_RISES)
    op.execute("REVOKE ALL ON FUNCTION soma_constitution_rises FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER rises BEFORE INSERT ON constitutions FOR EACH ROW EXECUTE FUNCTION soma_constitution_rises()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER rises ON constitutions")
    op.execute("DROP FUNCTION soma_constitution_rises")
    for table, _ in _WATCHED:
        op.execute(f"DROP TRIGGER gate_changed ON {table}")
    op.execute(
        "CREATE TRIGGER gate_changed AFTER INSERT ON constitutions "
        "FOR EACH STATEMENT EXECUTE FUNCTION soma_gate_changed('constitutions')"
    )
