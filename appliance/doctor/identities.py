"""Certificates of ours for servers that ask for one, and the CAs beside those that sign: files, pairs, ends."""

from collections.abc import Iterator
from datetime import UTC, datetime

from appliance.app.ca_watch import standings
from appliance.app.client_certificates import WARN_SECONDS
from appliance.config.client_certificates import ClientCertificate
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError
from certs.client_identity import load_identity
from certs.expiry import Outlook
from certs.generations import Generation


def client_certificates(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    now = (clock or SystemClock()).now()
    for auditor in config.auditor:
        for node in auditor.tls_interception.client_certificates if auditor.tls_interception else ():
            yield _identity(node, now)


def _identity(node: ClientCertificate, now: float) -> Finding:
    what = f"client certificate {node.name}"
    try:
        identity = load_identity(node.name, node.certificate, node.private_key)
    except ConfigError as error:
        return fail(what, str(error), "give the certificate with its intermediates, and its own key, mode 0600, both as PEM")
    except OSError as error:
        return fail(what, f"{error.filename}: {error.strerror}", "see to the file; Arcus must be able to read it")
    end = f"{datetime.fromtimestamp(identity.not_after, UTC):%Y-%m-%d}"
    if identity.not_after <= now:
        return fail(what, f"ended on {end}: servers refuse it", "get a new one from who issued it, and restart Arcus")
    if identity.not_after - now < WARN_SECONDS:
        return warn(what, f"ends on {end}", "get a new one from who issued it, before that day")
    return ok(what, f"valid until {end}, its key belongs to it")


def generations(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    """The CAs that do not sign: the next, which clients install, and the previous, which can come back."""
    for each in standings(config, clock or SystemClock()):
        if each.generation is Generation.CURRENT:
            continue
        what, end = f"CA {each.ca}, {each.generation}", f"{datetime.fromtimestamp(each.expiry.end, UTC):%Y-%m-%d}"
        if each.expiry.outlook is Outlook.FINE:
            yield ok(what, f"valid until {end}")
        elif each.generation is Generation.NEXT:
            hint = "delete it with `arcus ca drop --generation next`, and make another with `arcus ca rotate`"
            yield fail(what, f"ends on {end}, before it is of any use", hint)
        else:
            yield warn(what, f"ends on {end}", "delete it with `arcus ca drop --generation previous`, unless it may come back")
