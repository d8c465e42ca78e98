"""The last of the branch `webhooks`."""

import sqlalchemy as sa
from alembic import op

revision = "029_deliveries_of_webhooks_and_their_retries"
down_revision = "028_webhooks"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("webhook_id", sa.Integer, sa.ForeignKey("webhooks.id"), nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False, server_default="0"),
    )


def downgrade():
    op.drop_table("deliveries")
