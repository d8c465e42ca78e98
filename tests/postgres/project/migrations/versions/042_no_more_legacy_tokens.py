"""BREAKING, hidden in a DO block: `apps.legacy_token` goes."""

import sqlalchemy as sa
from alembic import op

revision = "042_no_more_legacy_tokens"
down_revision = "041_search_of_apps"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM information_schema.columns WHERE table_name = 'apps' AND column_name = 'legacy_token'
            ) THEN
                EXECUTE 'ALTER TABLE apps DROP COLUMN legacy_token';
            END IF;
        END
        $$
        """
    )


def downgrade():
    op.add_column("apps", sa.Column("legacy_token", sa.Text))
