"""DEPENDS ON 028, which is in the other branch."""

import sqlalchemy as sa
from alembic import op

revision = "032_warnings_of_certificates_by_webhook"
down_revision = "031_certificates_by_their_end"
branch_labels = None
depends_on = "028_webhooks"


def upgrade():
    op.add_column("certificates", sa.Column("webhook_id", sa.Integer, sa.ForeignKey("webhooks.id")))


def downgrade():
    op.drop_column("certificates", "webhook_id")
