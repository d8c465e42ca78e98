"""INSPECTS the connection: installs of long ago have the column already.

`alembic upgrade --sql` cannot render it (`NoInspectionAvailable`), nor any range that it is in.
"""

import sqlalchemy as sa
from alembic import op

revision = "014_gateway_regions_where_there_are_none"
down_revision = "013_view_of_active_subscriptions"
branch_labels = None
depends_on = None


def upgrade():
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("gateways")}
    if "region" not in columns:
        op.add_column("gateways", sa.Column("region", sa.String(63)))


def downgrade():
    op.drop_column("gateways", "region")
