"""A backfill with the new value."""

from alembic import op

revision = "024_gateways_without_an_address_have_failed"
down_revision = "023_gateway_status_failed"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("UPDATE gateways SET status = 'failed' WHERE address = ''")


def downgrade():
    op.execute("UPDATE gateways SET status = 'pending' WHERE status = 'failed'")
