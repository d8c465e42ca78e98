"""A materialized view."""

from alembic import op

revision = "035_usage_by_gateway"
down_revision = "034_ticket_numbers"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        "CREATE MATERIALIZED VIEW usage AS "
        "SELECT gateway_id, count(*) AS subscriptions FROM subscriptions GROUP BY gateway_id"
    )
    op.execute("CREATE UNIQUE INDEX usage_gateway_idx ON usage (gateway_id)")


def downgrade():
    op.execute("DROP MATERIALIZED VIEW usage")
