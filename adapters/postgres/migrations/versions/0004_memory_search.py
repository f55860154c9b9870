"""Full text search of memories by its index.

Row-level security keeps Postgres from using an index for an operator that is not leakproof, and ``@@`` is none: each
search would read every memory of the tenant. These functions run as the tables' owner and hold the tenant themselves.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_GUARDED = """
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan
"""
_MATCHES = "memory_matches(tsquery, text, text[], jsonb, text, text, int, int)"
_COUNTS = "memory_term_counts(text[], text, int)"


def upgrade() -> None:
    op.execute(f"""
    CREATE OR REPLACE FUNCTION memory_matches(wanted tsquery, in_namespace text, with_tags text[], with_meta jsonb, of_source text,
      key_prefix text, looked_at int, shown int) RETURNS TABLE (id uuid) {_GUARDED} AS $$
    DECLARE tenant CONSTANT text := current_setting('soma.tenant', true);
    BEGIN
      RETURN QUERY
      SELECT found.id FROM (
        SELECT m.id, m.search FROM memories m
        WHERE m.tenant_id = tenant AND m.search @@ wanted
          AND (in_namespace IS NULL OR m.namespace = in_namespace) AND (with_tags IS NULL OR m.tags @> with_tags)
          AND (with_meta IS NULL OR m.meta @> with_meta) AND (of_source IS NULL OR m.source = of_source)
          AND (key_prefix IS NULL OR starts_with(m.key, key_prefix))
        LIMIT looked_at
      ) AS found ORDER BY ts_rank(found.search, wanted) DESC, found.id LIMIT shown;
    END $$
    """)  # noqa: S608 - constants only
    op.execute(f"""
    CREATE OR REPLACE FUNCTION memory_term_counts(terms text[], in_namespace text, at_most int) RETURNS int[] {_GUARDED} AS $$
    DECLARE
      tenant CONSTANT text := current_setting('soma.tenant', true);
      term text; wanted tsquery; number int; counts int[] := '{{}}';
    BEGIN
      FOREACH term IN ARRAY terms LOOP
        wanted := term::tsquery;
        SELECT count(*) INTO number FROM (
          SELECT 1 FROM memories m WHERE m.tenant_id = tenant AND m.search @@ wanted
            AND (in_namespace IS NULL OR m.namespace = in_namespace) LIMIT at_most) AS some_of_them;
        counts := counts || number;
      END LOOP;
      RETURN counts;
    END $$
    """)  # noqa: S608 - constants only
    for function in (_MATCHES, _COUNTS):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO soma_app, soma_system")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {_MATCHES}")
    op.execute(f"DROP FUNCTION {_COUNTS}")
