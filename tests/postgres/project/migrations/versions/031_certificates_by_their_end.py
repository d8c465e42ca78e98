"""An index on a table that is new in the same range."""

from alembic import op

revision = "031_certificates_by_their_end"
down_revision = "030_gateway_certificates"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("certificates_expires_idx", "certificates", ["expires"])


def downgrade():
    op.drop_index("certificates_expires_idx", "certificates")
