"""BREAKING: version 1 does not know that it has to write `apps.owner`."""

import sqlalchemy as sa
from alembic import op

revision = "045_every_app_has_an_owner"
down_revision = "044_drop_call_logs"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("UPDATE apps SET owner = 'tenant-' || tenant_id WHERE owner IS NULL")
    op.alter_column("apps", "owner", nullable=False, existing_type=sa.Text)


def downgrade():
    op.alter_column("apps", "owner", nullable=True, existing_type=sa.Text)
