"""A required column with a default: those that do not know it go on."""

import sqlalchemy as sa
from alembic import op

revision = "037_priority_of_subscriptions"
down_revision = "036_longer_names_of_tenants"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("subscriptions", sa.Column("priority", sa.SmallInteger, nullable=False, server_default="5"))


def downgrade():
    op.drop_column("subscriptions", "priority")
