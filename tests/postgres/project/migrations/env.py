"""Reads its database as programs on asyncpg are told it, and migrates by psycopg: the driver goes, `ssl` becomes
`sslmode`.

All pending revisions run in one transaction, or each in its own with PER_MIGRATION=1.
"""

import os

from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ.get("DATABASE_URL", "postgresql://nowhere/none")
url = url.replace("+asyncpg", "+psycopg").replace("postgresql://", "postgresql+psycopg://").replace("ssl=", "sslmode=")
each = os.environ.get("PER_MIGRATION") == "1"


def offline():
    context.configure(url=url, literal_binds=True, transaction_per_migration=each)
    with context.begin_transaction():
        context.run_migrations()


def online():
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=each)
        with context.begin_transaction():
            context.run_migrations()


offline() if context.is_offline_mode() else online()
