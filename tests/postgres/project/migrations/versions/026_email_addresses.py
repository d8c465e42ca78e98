"""A domain."""

from alembic import op

revision = "026_email_addresses"
down_revision = "025_quotas"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%')")


def downgrade():
    op.execute("DROP DOMAIN email")
