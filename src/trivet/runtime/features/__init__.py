"""Features of entities that join a request: from a file in memory, or from a store."""
