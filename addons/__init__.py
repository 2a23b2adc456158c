"""mitmproxy hooks, one concern a file: flow to facts, ask a service, apply the answer.

In the order in which they run: identify, portal, access, parent, adapt, headers, upstream_tls, forge, record.
"""
