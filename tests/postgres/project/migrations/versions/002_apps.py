"""Apps of tenants. `legacy_token` goes in 042, `owner` comes in 012."""

import sqlalchemy as sa
from alembic import op

revision = "002_apps"
down_revision = "001_tenants"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "apps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant_id", sa.Integer, sa.ForeignKey("tenants.id", name="apps_tenant_fkey"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("legacy_token", sa.Text),
        sa.UniqueConstraint("tenant_id", "name", name="apps_tenant_name_key"),
    )


def downgrade():
    op.drop_table("apps")
