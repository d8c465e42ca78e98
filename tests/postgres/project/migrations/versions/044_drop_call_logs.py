"""CONTRACT, and so BREAKING: a table goes that version 1 writes."""

import sqlalchemy as sa
from alembic import op

revision = "044_drop_call_logs"
down_revision = "043_endpoint_instead_of_address_of_gateways"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_table("call_logs")


def downgrade():
    op.create_table(
        "call_logs",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column(
            "gateway_id", sa.Integer, sa.ForeignKey("gateways.id", name="call_logs_gateway_fkey"), nullable=False
        ),
        sa.Column("path", sa.Text, nullable=False),
    )
