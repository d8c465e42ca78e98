"""BREAKING: `gateways.address` gets another name."""

from alembic import op

revision = "043_endpoint_instead_of_address_of_gateways"
down_revision = "042_no_more_legacy_tokens"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("gateways", "address", new_column_name="endpoint")


def downgrade():
    op.alter_column("gateways", "endpoint", new_column_name="address")
