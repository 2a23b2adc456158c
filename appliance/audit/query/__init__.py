"""Asking for events: filters, one-line queries, and the SQL they become."""
