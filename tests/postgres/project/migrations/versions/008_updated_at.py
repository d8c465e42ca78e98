"""When a row was changed last, and the function that notes it."""

import sqlalchemy as sa
from alembic import op

revision = "008_updated_at"
down_revision = "007_audit_events_and_call_logs"
branch_labels = None
depends_on = None


def upgrade():
    for table in ("tenants", "apps", "gateways"):
        op.add_column(table, sa.Column("updated_at", sa.DateTime(timezone=True)))
    op.execute(
        """
        CREATE FUNCTION note_update() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.updated_at := now();
            RETURN NEW;
        END
        $$
        """
    )


def downgrade():
    op.execute("DROP FUNCTION note_update()")
    for table in ("gateways", "apps", "tenants"):
        op.drop_column(table, "updated_at")
