"""The audit of jobs: whatever ends one, an entry says how it ended and what was decided about its steps"""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# A job ends in five statements, some of them on the hot path. As a trigger the entry is in the same transaction with
# each of them, costs no round trip, and sees the step that the very same statement has settled.
_ENDED = """
CREATE FUNCTION soma_audit_job_ended() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome, detail)
  VALUES (NEW.tenant_id, 'agent.audit', NEW.submitted_by, 'job.' || NEW.status, 'job:' || NEW.id,
    CASE WHEN NEW.status <> 'failed' THEN 'done' WHEN NEW.error->>'code' = 'policy_refused' THEN 'refused'
      ELSE 'failed' END,
    jsonb_strip_nulls(jsonb_build_object(
      'capsule_id', NEW.capsule_id, 'version', NEW.capsule_version, 'task', NEW.task, 'tokens', NEW.spent_tokens,
      'error', NEW.error->>'code', 'failed_step', NEW.error->>'step_id', 'kill_switch_id', NEW.kill_switch_id,
      'decisions', (
        SELECT jsonb_agg(jsonb_build_object('step', step_id, 'action', action, 'allowed', verdict->'allowed',
          'score', verdict->'score') ORDER BY finished_at, step_id)
        FROM job_steps WHERE job_id = NEW.id AND verdict IS NOT NULL))));
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute(_ENDED)
    op.execute(
        "CREATE TRIGGER audit_job_ended AFTER UPDATE OF status ON jobs FOR EACH ROW "
        "WHEN (NEW.status IS DISTINCT FROM OLD.status AND NEW.status IN ('completed', 'failed', 'cancelled', 'killed')) "
        "EXECUTE FUNCTION soma_audit_job_ended()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_job_ended ON jobs")
    op.execute("DROP FUNCTION soma_audit_job_ended")
