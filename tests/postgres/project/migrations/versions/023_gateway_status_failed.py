"""AUTOCOMMIT: a value for an enum that the next revision uses."""

from alembic import op

revision = "023_gateway_status_failed"
down_revision = "022_index_of_subscriptions_without_a_lock"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE gateway_status ADD VALUE IF NOT EXISTS 'failed'")


def downgrade():
    op.execute("UPDATE gateways SET status = 'pending' WHERE status = 'failed'")
    op.execute("ALTER TABLE gateways ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TYPE gateway_status RENAME TO gateway_status_before")
    op.execute("CREATE TYPE gateway_status AS ENUM ('pending', 'ready', 'draining')")
    op.execute("ALTER TABLE gateways ALTER COLUMN status TYPE gateway_status USING status::text::gateway_status")
    op.execute("ALTER TABLE gateways ALTER COLUMN status SET DEFAULT 'pending'")
    op.execute("DROP TYPE gateway_status_before")
