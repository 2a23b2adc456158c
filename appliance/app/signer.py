"""The signer process: the only one that holds the keys of CAs. It reads nothing from the network."""

import asyncio
import logging
import socket
from collections.abc import Mapping

from appliance.app.beat import Heartbeat
from appliance.app.keys import seats
from appliance.app.parts import departure
from appliance.app.paths import StatePaths
from appliance.app.publishing import Publisher
from appliance.app.withdrawals import Withdrawals
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ConfigError
from appliance.engine.stage import Stage
from appliance.hardening import lock_memory
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from certs.authority import AuthorityError, Fault
from certs.mint import SPARE_KEYS, Mint
from certs.signing.leaf_desk import LeafDesk
from certs.signing.server import SignerServer
from certs.signing.wire import Kind
from certs.tokens import Tokens

logger = logging.getLogger(__name__)

LEAVE_MARGIN = 1.0
"""Seconds beyond the workers' drain time; the supervisor kills a little later."""


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, stage: Stage) -> None:
    """Sign until SIGTERM or SIGHUP (then until its workers have gone, for what they drain may need leaves) or SIGINT."""
    leave = departure(config)
    try:
        process = _Process(config, sockets["signer"])
    except ConfigError as error:
        # the parent has checked everything: it was changed while the appliance ran
        logger.error("the signer cannot sign: %s", error)
        if isinstance(error, AuthorityError) and error.fault is Fault.WRONG_PIN:
            await leave.begun.wait()  # to be started again would try the PIN again, until the token locks itself
        raise SystemExit(1) from None
    await stage.enter()
    process.server.start()
    process.mint.prepare()
    beat = Heartbeat(StatePaths(config.state_dir).run, "signer", process.metrics, process.sample)
    beating = asyncio.create_task(beat.run(leave.handed_over))
    try:
        await leave.begun.wait()
        while process.server.connections and leave.left + LEAVE_MARGIN > 0 and not leave.quick:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    finally:
        process.server.stop()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


class _Process:
    """What the process is made of."""

    def __init__(self, config: AppConfig, sock: socket.socket) -> None:
        self.metrics = Metrics()
        self._not_locked = lock_memory()
        if self._not_locked:
            logger.info("the signer's memory can be swapped out: %s", self._not_locked)
        clock, self._tokens = SystemClock(), Tokens()
        held = seats(config, "process", self._tokens)
        self._withdrawals = Withdrawals({seat.authority.fingerprint: seat.withdrawn for seat in held})
        ttl = {seat.authority.fingerprint: seat.ttl for seat in held}
        self.mint = Mint(held, clock, spare=SPARE_KEYS)
        self._desk = LeafDesk(self.mint, ttl, clock, self._told, withdrawn=self._withdrawals.by_ca)
        self._publisher = Publisher(StatePaths(config.state_dir).pki, [seat.authority for seat in held], clock)
        self.server = SignerServer(sock, {Kind.LEAF: self._desk.answer, Kind.FIND: self._desk.find})

    def _told(self, result: str) -> None:
        self.metrics.inc("arcus_signer_leaves_total", result)

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat."""
        self.metrics.set("arcus_signer_remembered", value=len(self._desk))
        self.metrics.set("arcus_signer_connections_active", value=self.server.connections)
        self._publisher.sample(health)
        trouble = self._withdrawals.sample(health)
        self.metrics.set("arcus_file_unreadable", "revoked", value=int(bool(trouble)))
        health.set("tokens", State.UNHEALTHY if self._tokens.trouble else State.OK, self._tokens.trouble)
        health.set("memory", State.OK, self._not_locked or "locked")
