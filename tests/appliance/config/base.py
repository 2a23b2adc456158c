"""A small configuration that is right, to be made wrong in one place."""

from pathlib import Path

from appliance.config.load import Loaded, parse

BASE = """\
state_dir: ./state
workers: 2
log: {level: info}
ca:
  - name: main
resolver:
  - name: local
    type: system
    hosts: {origin.test: ["127.0.0.1"]}
escaper:
  - name: direct
    type: direct_fixed
    resolver: local
  - name: parent
    type: proxy_http
    proxy_addr: "192.0.2.1:3128"
  - name: router
    type: route_upstream
    rules:
      - {exact_match: a.test, next: parent}
      - {child_match: b.test, next: parent, tenant: blue}
    fallback_next: direct
auditor:
  - name: inspect
    tls_interception:
      splice: [".bank.test"]
      rules:
        - {name: pinned, action: splice, hosts: [pinned.test]}
    icap_timeout: 30s
user_group:
  - name: people
    static_users:
      - name: alice
        token: {salt: ab, sha1: a9993e364706816aba3e25717850c26c9cd0d89d}
tenant:
  - tenant_id: blue
    match: {networks: [10.0.0.0/8], sni: [.blue.test]}
    ca: main
    auditor: inspect
    escaper: router
    user_group: people
    policies:
      - name: no-games
        config: {hosts: {child: [games.test]}}
  - tenant_id: default
    ca: main
    auditor: inspect
server:
  - name: explicit
    type: http_proxy
    listen: {address: "127.0.0.1:8080"}
    escaper: direct
  - name: socks
    type: socks_proxy
    listen: {address: "127.0.0.1:1080"}
    escaper: direct
admin:
  listen: {address: "127.0.0.1:9090"}
"""


def changed(*edits: tuple[str, str]) -> str:
    """BASE with each text, which stands in it exactly once, replaced."""
    text = BASE
    for old, new in edits:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def loads(text: str | bytes, base: Path = Path("/nowhere")) -> Loaded:
    return parse(text, file="x.yaml", base=base)
