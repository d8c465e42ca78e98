"""A table with an exclusion constraint: one quota of a tenant at a time."""

from alembic import op

revision = "025_quotas"
down_revision = "024_gateways_without_an_address_have_failed"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        CREATE TABLE quotas (
            tenant int4range NOT NULL,
            valid tstzrange NOT NULL,
            calls integer NOT NULL CHECK (calls > 0),
            CONSTRAINT quotas_one_at_a_time EXCLUDE USING gist (tenant WITH &&, valid WITH &&)
        )
        """
    )


def downgrade():
    op.drop_table("quotas")
