"""What may answer a request before its pipeline runs: tables, caches, and their stores."""
