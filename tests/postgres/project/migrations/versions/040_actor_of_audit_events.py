"""A column that may be empty."""

import sqlalchemy as sa
from alembic import op

revision = "040_actor_of_audit_events"
down_revision = "039_subscription_state_until_sign_off"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("events", sa.Column("actor", sa.Text), schema="audit")
    op.execute("COMMENT ON COLUMN audit.events.actor IS 'Who did it.'")


def downgrade():
    op.drop_column("events", "actor", schema="audit")
