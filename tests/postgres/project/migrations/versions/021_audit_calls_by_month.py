"""A table with partitions."""

from alembic import op

revision = "021_audit_calls_by_month"
down_revision = "020_merge_billing_and_keys"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE audit.calls (at timestamptz NOT NULL, path text NOT NULL) PARTITION BY RANGE (at)")
    op.execute(
        "CREATE TABLE audit.calls_2026_01 PARTITION OF audit.calls FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"
    )
    op.execute("CREATE TABLE audit.calls_others PARTITION OF audit.calls DEFAULT")


def downgrade():
    op.execute("DROP TABLE audit.calls")
