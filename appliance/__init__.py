"""Arcus: a multi-tenant TLS-inspection appliance."""

__version__ = "0.1.0"
