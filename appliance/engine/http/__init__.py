"""Strict HTTP: one reading of every message, or none. Parsers, framing and the layers that mitmproxy's flows run on."""
