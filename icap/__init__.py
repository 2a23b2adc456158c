"""ICAP (RFC 3507): a protocol core without I/O, a client for the appliance and a server of its own."""
