"""A table with a function of its own."""

from alembic import op

revision = "038_gateway_heartbeats"
down_revision = "037_priority_of_subscriptions"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE heartbeats (gateway_id integer PRIMARY KEY REFERENCES gateways, at timestamptz NOT NULL)")
    op.execute(
        """
        CREATE FUNCTION heartbeat(gateway integer) RETURNS void LANGUAGE sql AS $$
            INSERT INTO heartbeats VALUES (gateway, now()) ON CONFLICT (gateway_id) DO UPDATE SET at = excluded.at
        $$
        """
    )


def downgrade():
    op.execute("DROP FUNCTION heartbeat(integer)")
    op.drop_table("heartbeats")
