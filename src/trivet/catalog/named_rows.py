"""What the tables of runs and of studies are asked alike: ids and services. Both have `number`, `id` and `service`."""

from trivet.catalog.database import Database
from trivet.catalog.schema import sa


def ids(
    database: Database,
    table: sa.Table,
    prefix: str = "",
    service: str | None = None,
    limit: int | None = None,
) -> list[str]:
    """Newest first. Args: prefix: of the ids.  service: its alone; None: of all.  limit: at most so many; None: all."""
    query = sa.select(table.c.id).order_by(table.c.number.desc()).limit(limit)
    if prefix:
        query = query.where(table.c.id.startswith(prefix, autoescape=True))
    if service is not None:
        query = query.where(table.c.service == service)
    with database.reading() as connection:
        return list(connection.scalars(query))


def services(database: Database, table: sa.Table) -> list[str]:
    """By name, each once."""
    with database.reading() as connection:
        return list(connection.scalars(sa.select(table.c.service).distinct().order_by(table.c.service)))
