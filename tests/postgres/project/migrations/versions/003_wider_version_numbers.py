"""Alembic makes room for 32 characters; ids from 005 on are longer."""

import sqlalchemy as sa
from alembic import op

revision = "003_wider_version_numbers"
down_revision = "002_apps"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("alembic_version", "version_num", type_=sa.String(128), existing_type=sa.String(32))


def downgrade():
    op.alter_column("alembic_version", "version_num", type_=sa.String(32), existing_type=sa.String(128))
