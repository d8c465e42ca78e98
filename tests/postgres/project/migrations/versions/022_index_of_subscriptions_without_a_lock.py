"""AUTOCOMMIT: what was done before in this run is committed, whatever becomes of the rest."""

from alembic import op

revision = "022_index_of_subscriptions_without_a_lock"
down_revision = "021_audit_calls_by_month"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index(
            "subscriptions_gateway_idx",
            "subscriptions",
            ["gateway_id"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("subscriptions_gateway_idx", "subscriptions", postgresql_concurrently=True, if_exists=True)
