"""The catalog's tables, as the newest migration leaves them (checked in test_migrations.py).

A change here needs a migration in migrations/versions/, and HEAD is its name.
"""

from typing import Final

from trivet.errors import ExtraMissingError

try:
    import sqlalchemy as sa
except ImportError:
    raise ExtraMissingError("the catalog", "bench") from None

# `sa` too: whoever takes it from here gets the message above where SQLAlchemy is missing.
__all__ = ["HEAD", "audit", "metadata", "run_documents", "run_tags", "runs", "sa", "settings", "studies"]

HEAD: Final = "0002"

metadata = sa.MetaData()

# What lists show and filters ask for; the rest of a run is in run_documents, so that a list reads little.
runs = sa.Table(
    "runs",
    metadata,
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
    sa.Column("figures", sa.Text, nullable=False),  # JSON
    sa.Column("tags", sa.Text, nullable=False),  # JSON
    sa.Column("writer", sa.Text, nullable=False),  # JSON
    sa.Index("runs_by_service", "service", "number"),
    sa.Index("runs_by_state", "state", "number"),
    sa.Index("runs_by_begun", "begun"),
    sa.Index("runs_by_configuration", "configuration_hash"),
    sa.Index("runs_by_group", "group_name"),
    sqlite_autoincrement=True,
)

run_documents = sa.Table(
    "run_documents",
    metadata,
    sa.Column("number", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True, autoincrement=False),
    sa.Column("draft", sa.Text, nullable=False),  # JSON of RunDraft; its environment grows when the run ends
    sa.Column("artifacts", sa.Text, nullable=False),  # JSON: digests by name
)

run_tags = sa.Table(
    "run_tags",
    metadata,
    sa.Column("number", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("run_tags_by_name", "name", "value"),
)

# Append-only: triggers refuse every change (migrations/versions), and the chain of hashes shows what they missed.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1, 2, ... without a gap
    sa.Column("date", sa.String(32), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),  # canonical JSON
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(16), nullable=False, unique=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("begun", sa.String(32), nullable=False),
    sa.Column("ended", sa.String(32)),
    sa.Column("summary", sa.Text, nullable=False),  # JSON of StudySummary
    sa.Column("document", sa.Text, nullable=False),  # JSON of Study; replaced after every trial
    sa.Column("writer", sa.Text, nullable=False),  # JSON
    sa.Index("studies_by_service", "service", "number"),
    sqlite_autoincrement=True,
)
