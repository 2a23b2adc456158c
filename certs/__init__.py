"""Certificates: the signing authorities, the leaves forged for clients, and the trust in servers."""
