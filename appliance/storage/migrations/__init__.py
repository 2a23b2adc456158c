"""Numbered steps from an empty database to the schema of this version. A released step never changes."""
