"""The gate's rights: tenants apart, records that nobody changes, and counters that tell of changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_RIGHTS = {
    "api_keys": "SELECT, INSERT, UPDATE, DELETE",
    "revoked_tokens": "SELECT, INSERT, DELETE",
    "training_sessions": "SELECT, INSERT, UPDATE",
    "constitutions": "SELECT, INSERT",
    "constitution_proposals": "SELECT, INSERT, UPDATE",
    "constitution_votes": "SELECT, INSERT",
    "policy_rules": "SELECT, INSERT, UPDATE, DELETE",
    "policy_decisions": "SELECT, INSERT",
    "moderation_strikes": "SELECT, INSERT, UPDATE",
    "moderation_locks": "SELECT, INSERT, UPDATE",
    "kill_switches": "SELECT, INSERT, UPDATE",
    "model_profiles": "SELECT, INSERT, UPDATE, DELETE",
    "notification_preferences": "SELECT, INSERT, UPDATE, DELETE",
    "sessions": "SELECT, INSERT, UPDATE",
    "session_turns": "SELECT, INSERT, UPDATE",
    "session_events": "SELECT, INSERT",
    "audit_intake": "SELECT, INSERT",
    "audit_entries": "SELECT",
    "audit_heads": "SELECT",
}
_OWN = "tenant_id = current_setting('soma.tenant', true)"

_WATCHED = (
    ("tokens", "revoked_tokens", "INSERT OR DELETE"),
    ("users", "users", "UPDATE OF disabled_at OR DELETE"),
    ("constitutions", "constitutions", "INSERT"),
    ("rules", "policy_rules", "INSERT OR UPDATE OR DELETE"),
    ("kills", "kill_switches", "INSERT OR UPDATE"),
    ("tenants", "tenants", "INSERT OR UPDATE OF settings OR DELETE"),
    ("training", "training_sessions", "INSERT OR UPDATE"),
    ("profiles", "model_profiles", "INSERT OR UPDATE OR DELETE"),
)

_RAISE = """
CREATE FUNCTION soma_gate_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE gate_changes SET version = version + 1 WHERE kind = TG_ARGV[0];
  PERFORM pg_notify('soma_gate', TG_ARGV[0]);
  RETURN NULL;
END $$
"""

# The only way into the chain. What is sealed is what was taken in, in the order given; the caller brings only the
# hashes, which anybody can compute again, and the head's signature.
_SEAL = """
CREATE FUNCTION soma_seal_audit(p_tenant text, p_entries jsonb, p_signature text, p_kid text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  head audit_heads%ROWTYPE;
  sealed bigint;
BEGIN
  IF session_user = 'soma_app' AND p_tenant IS DISTINCT FROM current_setting('soma.tenant', true) THEN
    RAISE EXCEPTION 'a tenant seals its own audit chain only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('audit:' || p_tenant, 0));
  SELECT * INTO head FROM audit_heads WHERE tenant_id = p_tenant;
  IF (p_entries->0->>'seq')::bigint <> coalesce(head.seq, 0) + 1
     OR p_entries->0->>'previous_hash' <> coalesce(head.hash, repeat('0', 64)) THEN
    RETURN false;  -- somebody else has sealed meanwhile: read the head again
  END IF;
  INSERT INTO audit_entries (tenant_id, seq, topic, actor, action, object, outcome, detail, request_id, trace_id,
                             occurred_at, previous_hash, hash)
  SELECT p_tenant, e.seq, i.topic, i.actor, i.action, i.object, i.outcome, i.detail, i.request_id, i.trace_id,
         i.occurred_at, e.previous_hash, e.hash
  FROM jsonb_to_recordset(p_entries) AS e(intake_id bigint, seq bigint, previous_hash text, hash text)
  JOIN audit_intake i ON i.id = e.intake_id AND i.tenant_id = p_tenant;
  GET DIAGNOSTICS sealed = ROW_COUNT;
  IF sealed <> jsonb_array_length(p_entries)
     OR (p_entries->-1->>'seq')::bigint <> coalesce(head.seq, 0) + sealed THEN
    RAISE EXCEPTION 'these entries are not what was taken in' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  INSERT INTO outbox (tenant_id, kind, key, payload)
  SELECT p_tenant, 'event', i.object, jsonb_build_object('topic', i.topic, 'type', i.action, 'actor', i.actor,
         'object', i.object, 'outcome', i.outcome, 'detail', i.detail, 'trace_id', i.trace_id, 'seq', e.seq)
  FROM jsonb_to_recordset(p_entries) AS e(intake_id bigint, seq bigint)
  JOIN audit_intake i ON i.id = e.intake_id AND i.tenant_id = p_tenant ORDER BY e.seq;
  DELETE FROM audit_intake WHERE tenant_id = p_tenant
    AND id IN (SELECT (e->>'intake_id')::bigint FROM jsonb_array_elements(p_entries) AS e);
  INSERT INTO audit_heads (tenant_id, seq, hash, signature, kid, signed_at)
  VALUES (p_tenant, (p_entries->-1->>'seq')::bigint, p_entries->-1->>'hash', p_signature, p_kid, clock_timestamp())
  ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, signature = excluded.signature,
    kid = excluded.kid, signed_at = excluded.signed_at;
  RETURN true;
END $$
"""


def upgrade() -> None:
    for table, rights in _RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO soma_app, soma_system")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY system ON {table} TO soma_system USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY tenant ON {table} TO soma_app USING ({_OWN}) WITH CHECK ({_OWN})")
    op.execute("CREATE POLICY everyone ON kill_switches FOR SELECT TO soma_app USING (scope = 'global')")
    op.execute("CREATE POLICY everyone ON constitutions FOR SELECT TO soma_app USING (tenant_id = '')")
    op.execute("GRANT SELECT ON gate_changes TO soma_app, soma_system")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO soma_app, soma_system")
    op.execute(_RAISE)
    for kind, table, events in _WATCHED:
        op.execute(sa.text("INSERT INTO gate_changes (kind) VALUES (:kind)").bindparams(kind=kind))
        op.execute(
            f"CREATE TRIGGER gate_changed AFTER {events} ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION soma_gate_changed('{kind}')"
        )
    op.execute(_SEAL)
    op.execute("REVOKE ALL ON FUNCTION soma_seal_audit, soma_gate_changed FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION soma_seal_audit TO soma_app, soma_system")


def downgrade() -> None:
    op.execute("DROP FUNCTION soma_seal_audit")
    for _, table, _ in _WATCHED:
        op.execute(f"DROP TRIGGER gate_changed ON {table}")
    op.execute("DROP FUNCTION soma_gate_changed")
    op.execute("DELETE FROM gate_changes")
    op.execute("REVOKE ALL ON gate_changes FROM soma_app, soma_system")
    op.execute("DROP POLICY everyone ON kill_switches")
    op.execute("DROP POLICY everyone ON constitutions")
    for table in _RIGHTS:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"DROP POLICY system ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM soma_app, soma_system")
