"""BRANCH without a label, beside 016."""

import sqlalchemy as sa
from alembic import op

revision = "018_api_keys"
down_revision = "015_regions_by_name"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("app_id", sa.Integer, sa.ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    )


def downgrade():
    op.drop_table("api_keys")
