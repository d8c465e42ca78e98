"""What was done, and what was called. `call_logs` goes in 044."""

import sqlalchemy as sa
from alembic import op

revision = "007_audit_events_and_call_logs"
down_revision = "006_audit_schema"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        CREATE TABLE audit.events (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL DEFAULT now(),
            what text NOT NULL,
            details jsonb NOT NULL DEFAULT '{}'
        )
        """
    )
    op.create_table(
        "call_logs",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column(
            "gateway_id", sa.Integer, sa.ForeignKey("gateways.id", name="call_logs_gateway_fkey"), nullable=False
        ),
        sa.Column("path", sa.Text, nullable=False),
    )


def downgrade():
    op.drop_table("call_logs")
    op.execute("DROP TABLE audit.events")
