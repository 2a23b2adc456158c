"""Scanners: what looks into a body and says clean, infected, or that it could not say."""
