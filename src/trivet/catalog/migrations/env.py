"""Run by Alembic: on the connection, and in the transaction, that database.py holds."""

from alembic import context

from trivet.catalog.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
