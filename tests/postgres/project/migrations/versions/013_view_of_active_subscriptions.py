"""A view."""

from alembic import op

revision = "013_view_of_active_subscriptions"
down_revision = "012_app_owner"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        CREATE VIEW active_subscriptions AS
        SELECT s.id, a.tenant_id, a.name AS app, g.name AS gateway
        FROM subscriptions s JOIN apps a ON a.id = s.app_id JOIN gateways g ON g.id = s.gateway_id
        WHERE s.active
        """
    )


def downgrade():
    op.execute("DROP VIEW active_subscriptions")
