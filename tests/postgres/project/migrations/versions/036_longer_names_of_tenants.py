"""A wider type: `varchar(100)` becomes `varchar(200)`."""

import sqlalchemy as sa
from alembic import op

revision = "036_longer_names_of_tenants"
down_revision = "035_usage_by_gateway"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("tenants", "name", type_=sa.String(200), existing_type=sa.String(100), existing_nullable=False)


def downgrade():
    op.alter_column(
        "tenants",
        "name",
        type_=sa.String(100),
        existing_type=sa.String(200),
        existing_nullable=False,
        postgresql_using="left(name, 100)",
    )
