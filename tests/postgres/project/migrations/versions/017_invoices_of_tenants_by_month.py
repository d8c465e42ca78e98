"""The last of the branch `billing`."""

import sqlalchemy as sa
from alembic import op

revision = "017_invoices_of_tenants_by_month"
down_revision = "016_billing_plans"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "invoices",
        sa.Column("tenant_id", sa.Integer, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("month", sa.Date, primary_key=True),
        sa.Column("plan_id", sa.Integer, sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("cents", sa.Integer, sa.CheckConstraint("cents >= 0", name="invoices_cents_check"), nullable=False),
    )


def downgrade():
    op.drop_table("invoices")
