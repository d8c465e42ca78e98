"""A value for an enum, in the transaction: it cannot be used before that ends."""

from alembic import op

revision = "011_gateway_status_draining"
down_revision = "010_subscription_index"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TYPE gateway_status ADD VALUE 'draining'")


def downgrade():
    op.execute("UPDATE gateways SET status = 'pending' WHERE status = 'draining'")
    op.execute("ALTER TABLE gateways ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TYPE gateway_status RENAME TO gateway_status_before")
    op.execute("CREATE TYPE gateway_status AS ENUM ('pending', 'ready')")
    op.execute("ALTER TABLE gateways ALTER COLUMN status TYPE gateway_status USING status::text::gateway_status")
    op.execute("ALTER TABLE gateways ALTER COLUMN status SET DEFAULT 'pending'")
    op.execute("DROP TYPE gateway_status_before")
