"""Readers of units."""
