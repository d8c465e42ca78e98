"""Triggers on tables that are there already."""

from alembic import op

revision = "009_triggers_that_note_each_update"
down_revision = "008_updated_at"
branch_labels = None
depends_on = None


def upgrade():
    for table in ("tenants", "apps", "gateways"):
        op.execute(
            f"CREATE TRIGGER {table}_note_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION note_update()"
        )


def downgrade():
    for table in ("gateways", "apps", "tenants"):
        op.execute(f"DROP TRIGGER {table}_note_update ON {table}")
