"""Storage: the database of events, its schema and its migrations."""
