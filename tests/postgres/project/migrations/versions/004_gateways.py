"""Gateways, with an enum for their status."""

from alembic import op

revision = "004_gateways"
down_revision = "003_wider_version_numbers"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TYPE gateway_status AS ENUM ('pending', 'ready')")
    op.execute(
        """
        CREATE TABLE gateways (
            id serial PRIMARY KEY,
            name varchar(63) NOT NULL UNIQUE,
            address text NOT NULL,
            status gateway_status NOT NULL DEFAULT 'pending'
        )
        """
    )


def downgrade():
    op.drop_table("gateways")
    op.execute("DROP TYPE gateway_status")
