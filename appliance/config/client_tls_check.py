"""Listeners and auditors whose demands on clients have nothing in common: no handshake could ever succeed there."""

from collections.abc import Iterator

from appliance.config.client_tls import ClientTls
from appliance.config.view import View

LISTS = ("ciphers", "signatures", "groups")


def check_client_tls(view: View) -> None:
    config = view.config
    auditors = {auditor.name: auditor.tls_interception for auditor in config.auditor}
    for path, server in view.each("server"):
        bound = server.tenant_context.tenant_id if server.tenant_context else None
        tenants = [each for each in config.tenant if bound in (None, each.tenant_id)]
        for name in dict.fromkeys(each.auditor for each in tenants):
            interception = auditors.get(name)
            for key in _nothing_in(server.client_tls, interception.client_tls) if interception else ():
                view.error((*path, "client_tls", key), f"has nothing in common with {key} of auditor {name!r}")


def _nothing_in(listener: ClientTls, auditor: ClientTls) -> Iterator[str]:
    for key in LISTS:
        if not set(getattr(listener, key)) & set(getattr(auditor, key)):
            yield key
