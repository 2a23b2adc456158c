"""An asyncio ICAP server (RFC 3507) whose services hand bodies to a scanner as they arrive."""
