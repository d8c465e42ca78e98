"""Whom to write to."""

from alembic import op

revision = "027_contacts"
down_revision = "026_email_addresses"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE contacts (tenant_id integer NOT NULL REFERENCES tenants, address email NOT NULL)")


def downgrade():
    op.drop_table("contacts")
