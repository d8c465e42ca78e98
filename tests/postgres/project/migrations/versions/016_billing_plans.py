"""BRANCH `billing`, beside 018."""

import sqlalchemy as sa
from alembic import op

revision = "016_billing_plans"
down_revision = "015_regions_by_name"
branch_labels = "billing"
depends_on = None


def upgrade():
    plans = op.create_table(
        "plans",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(63), nullable=False, unique=True),
        sa.Column("cents", sa.Integer, nullable=False),
    )
    op.bulk_insert(plans, [{"id": 1, "name": "free", "cents": 0}, {"id": 2, "name": "team", "cents": 4900}])


def downgrade():
    op.drop_table("plans")
