"""A schema of its own for what is only ever added to."""

from alembic import op

revision = "006_audit_schema"
down_revision = "005_subscriptions_of_apps_to_gateways"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE SCHEMA audit")


def downgrade():
    op.execute("DROP SCHEMA audit")
