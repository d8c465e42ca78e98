"""An index that locks writers out while it is built."""

from alembic import op

revision = "010_subscription_index"
down_revision = "009_triggers_that_note_each_update"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("subscriptions_app_idx", "subscriptions", ["app_id"])


def downgrade():
    op.drop_index("subscriptions_app_idx", "subscriptions")
