"""The head of version 2."""

import sqlalchemy as sa
from alembic import op

revision = "046_notes_on_tenants"
down_revision = "045_every_app_has_an_owner"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("tenants", sa.Column("note", sa.Text))


def downgrade():
    op.drop_column("tenants", "note")
