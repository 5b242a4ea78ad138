"""Runs, their documents and tags; the audit log with what keeps it append-only; settings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_REFUSAL = "the audit log is append-only"


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(16), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("configuration_hash", sa.String(64), nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("begun", sa.String(32), nullable=False),
        sa.Column("ended", sa.String(32)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_by_service", "runs", ["service", "number"])
    op.create_index("runs_by_state", "runs", ["state", "number"])
    op.create_index("runs_by_begun", "runs", ["begun"])
    op.create_index("runs_by_configuration", "runs", ["configuration_hash"])
    op.create_index("runs_by_group", "runs", ["group_name"])
    op.create_table(
        "run_documents",
        sa.Column("number", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True, autoincrement=False),
        sa.Column("draft", sa.Text, nullable=False),
        sa.Column("artifacts", sa.Text, nullable=False),
    )
    op.create_table(
        "run_tags",
        sa.Column("number", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("run_tags_by_name", "run_tags", ["name", "value"])
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("date", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgres()


def _guard_sqlite() -> None:
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_refuses_{event.lower()} BEFORE {event} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )


def _guard_postgres() -> None:
    op.execute(
        "CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()"
    )
