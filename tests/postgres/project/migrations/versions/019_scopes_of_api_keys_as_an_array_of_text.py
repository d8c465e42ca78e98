"""The last of its branch."""

import sqlalchemy as sa
from alembic import op

revision = "019_scopes_of_api_keys_as_an_array_of_text"
down_revision = "018_api_keys"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("api_keys", sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False, server_default="{}"))


def downgrade():
    op.drop_column("api_keys", "scopes")
