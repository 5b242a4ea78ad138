"""The gate of a CI: suspects from history, rounds that confirm them, and what it writes."""
