"""BRANCH without a label, beside 028."""

import sqlalchemy as sa
from alembic import op

revision = "030_gateway_certificates"
down_revision = "027_contacts"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "certificates",
        sa.Column("gateway_id", sa.Integer, sa.ForeignKey("gateways.id"), primary_key=True),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade():
    op.drop_table("certificates")
