"""Which app may use which gateway. The first id that is longer than 32 characters."""

import sqlalchemy as sa
from alembic import op

revision = "005_subscriptions_of_apps_to_gateways"
down_revision = "004_gateways"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("app_id", sa.Integer, sa.ForeignKey("apps.id", name="subscriptions_app_fkey"), nullable=False),
        sa.Column(
            "gateway_id", sa.Integer, sa.ForeignKey("gateways.id", name="subscriptions_gateway_fkey"), nullable=False
        ),
        sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade():
    op.drop_table("subscriptions")
