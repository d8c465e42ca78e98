"""DRAFT, DO NOT APPLY TO PRODUCTION UNTIL SIGN-OFF.

Needs an API that writes `state` beside `active`. HELD in the tests' policies, yet what comes after descends from it.
"""

import sqlalchemy as sa
from alembic import op

revision = "039_subscription_state_until_sign_off"
down_revision = "038_gateway_heartbeats"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("subscriptions", sa.Column("state", sa.String(16)))
    op.execute("UPDATE subscriptions SET state = CASE WHEN active THEN 'active' ELSE 'ended' END")


def downgrade():
    op.drop_column("subscriptions", "state")
