"""CRL and OCSP for forged leaves: signed where the keys are, answered on the admin listener and on the portal's name."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from appliance.config.ca import Ca
from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError
from appliance.portal.routes import Route
from appliance.portal.visit import Answer, Visit
from appliance.telemetry.health import HealthWriter, State
from certs.authority import Authority, PublicAuthority
from certs.crl import may_sign
from certs.publication import FOLDER, Publication, publication
from certs.responder import MAX_REQUEST
from certs.revocation_answers import RevocationAnswers
from certs.revocation_folder import RevocationFolder, refresh

logger = logging.getLogger(__name__)

LOOK_AGAIN = 600.0
"""Seconds until a CA is looked at even when nothing was revoked: what is published grows old by itself."""


def publication_of(ca: Ca, authority: PublicAuthority) -> Publication | None:
    """What the leaves of a CA say about where they can be revoked: nothing without ``revocation_url``."""
    if ca.revocation_url is None:
        return None
    return publication(ca.revocation_url, authority.fingerprint, crl=may_sign(authority))


class Publisher:
    """Keeps what is published up to date, for CAs whose key this process has. ``root``: ``state_dir/pki``."""

    def __init__(self, root: Path, held: Sequence[Authority], clock: Clock) -> None:
        self._root = root
        self._held = held
        self._clock = clock
        self._seen: dict[str, tuple[tuple[int, ...], float]] = {}
        self._troubles: dict[str, str] = {}
        self._work: asyncio.Task[None] | None = None

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat: tell how the last look went, and begin the next. Never two at once.

        In a thread: a token takes its time to sign, and another process may have the folder.
        """
        if self._work is not None:
            if not self._work.done():
                return
            done, self._work = self._work, None
            done.result()
            for name, trouble in self._troubles.items():
                health.set(f"revocation {name}", State.DEGRADED if trouble else State.OK, trouble)
        self._work = asyncio.get_running_loop().create_task(asyncio.to_thread(self.look))

    def look(self) -> None:
        """Sign what has to be signed. A list that cannot be read, or a disk that is full, is kept to be told."""
        troubles: dict[str, str] = {}
        for authority in self._held:
            # the generations of one CA share its name
            troubles[authority.name] = self._keep(authority) or troubles.get(authority.name, "")
        self._troubles = troubles

    def _keep(self, authority: Authority) -> str:
        folder, now = RevocationFolder.of(self._root, authority.fingerprint), self._clock.monotonic()
        stamp, since = self._seen.get(authority.fingerprint, ((), 0.0))
        if stamp == folder.stamp() and now - since < LOOK_AGAIN:
            return ""
        try:
            if refresh(self._root, authority, self._clock):
                logger.info("CRL and OCSP responder signed", extra={"ca": authority.name})
        except (OSError, ArcusError) as error:
            logger.error("CRL and OCSP cannot be signed", extra={"ca": authority.name, "error": str(error)})
            return f"not signed: {error}"
        self._seen[authority.fingerprint] = (folder.stamp(), now)
        return ""


def portal_route(answers: RevocationAnswers) -> Route:
    """The same paths on the portal's name, for clients that reach nothing but the proxy."""

    def serve(visit: Visit) -> Answer:
        try:
            found = answers.answer(visit.method, visit.path, visit.body)
        except (OSError, ArcusError) as error:
            logger.error("revocation cannot be answered", extra={"error": str(error)})
            return Answer(503, (("Retry-After", "60"), ("Cache-Control", "no-store")), b"")
        return Answer(found.status, found.headers, found.body)

    return Route(FOLDER, serve, ("GET", "POST"), MAX_REQUEST)
