"""BRANCH `webhooks`, beside 030."""

import sqlalchemy as sa
from alembic import op

revision = "028_webhooks"
down_revision = "027_contacts"
branch_labels = "webhooks"
depends_on = None


def upgrade():
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("app_id", sa.Integer, sa.ForeignKey("apps.id"), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
    )


def downgrade():
    op.drop_table("webhooks")
