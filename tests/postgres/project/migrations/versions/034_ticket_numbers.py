"""A sequence."""

from alembic import op

revision = "034_ticket_numbers"
down_revision = "033_merge_webhooks_and_certificates"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE SEQUENCE ticket_numbers START 1000")


def downgrade():
    op.execute("DROP SEQUENCE ticket_numbers")
