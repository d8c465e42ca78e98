"""Who owns an app; filled in for those that are there. 045 makes it required."""

import sqlalchemy as sa
from alembic import op

revision = "012_app_owner"
down_revision = "011_gateway_status_draining"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("apps", sa.Column("owner", sa.Text))
    op.execute("UPDATE apps SET owner = 'tenant-' || tenant_id WHERE owner IS NULL")


def downgrade():
    op.drop_column("apps", "owner")
