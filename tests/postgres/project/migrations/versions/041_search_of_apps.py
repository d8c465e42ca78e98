"""A generated column: the table is written anew."""

from alembic import op

revision = "041_search_of_apps"
down_revision = "040_actor_of_audit_events"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE apps ADD COLUMN search text GENERATED ALWAYS AS (lower(name)) STORED")


def downgrade():
    op.drop_column("apps", "search")
