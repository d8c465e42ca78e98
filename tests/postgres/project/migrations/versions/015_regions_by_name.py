"""A backfill in a DO block: `eu-west-gw1` is in `eu-west`."""

from alembic import op

revision = "015_regions_by_name"
down_revision = "014_gateway_regions_where_there_are_none"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        DO $$
        DECLARE gateway record;
        BEGIN
            FOR gateway IN SELECT id, name FROM gateways WHERE region IS NULL LOOP
                UPDATE gateways SET region = regexp_replace(gateway.name, '-[^-]*$', '') WHERE id = gateway.id;
            END LOOP;
        END
        $$
        """
    )


def downgrade():
    op.execute("UPDATE gateways SET region = NULL")
