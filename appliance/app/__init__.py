"""Composition root: the only place that constructs services and joins them, one module per kind of process.

``parent`` holds the sockets and starts the others; ``worker`` is the traffic path, ``icap`` the scanner, ``admin`` the
pages and the audit drain, ``demo`` the test origin. Nothing is imported here: a process loads what it runs.
"""
