"""Tests of the bench itself; nothing is measured here."""
