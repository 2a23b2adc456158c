"""The downloads that one worker holds, within limits for each client and each tenant."""

import logging
import secrets
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from appliance.config.patience import Patience
from appliance.domain.clock import Clock
from appliance.domain.reason import Reason
from appliance.patience.download import Download, Held, Label, Task
from appliance.patience.ticket import Asking

logger = logging.getLogger(__name__)

REMEMBERED: Final = 1000
"""Downloads that are over, of which the page can still say so."""
FORGOTTEN: Final = 600.0
"""Seconds after which it cannot."""


class Shelf:
    """``check`` is called every second or so."""

    def __init__(self, clock: Clock, name: Callable[[], str] = lambda: secrets.token_hex(16)) -> None:
        self._clock, self._name = clock, name
        self._downloads: dict[str, Download] = {}

    def begin(self, asking: Asking, label: Label, arriving: Held, task: Task, config: Patience) -> Download | None:
        """None: the client, or its tenant, has as many as it may have."""
        mine = [each for each in self._downloads.values() if each.open and each.asking.tenant == asking.tenant]
        own = sum(_client(each.asking) == _client(asking) for each in mine)
        if own >= config.per_client or len(mine) >= config.per_tenant:
            return None
        download = Download(self._name(), asking, label, arriving, task, config, self._clock.monotonic)
        self._downloads[download.number] = download
        return download

    def find(self, number: str) -> Download | None:
        return self._downloads.get(number)

    def check(self) -> None:
        """Give up what nobody waits for, and forget what has been over for long."""
        now = self._clock.monotonic()
        for download in list(self._downloads.values()):
            _try(download.check)
            if not download.open and now - download.seen > FORGOTTEN:
                del self._downloads[download.number]
        for number in [each.number for each in self._downloads.values() if not each.open][:-REMEMBERED]:
            del self._downloads[number]

    def states(self) -> Counter[str]:
        """How many there are of each state, for the metrics."""
        return Counter(each.state.value for each in self._downloads.values() if each.open)

    def close(self) -> None:
        """The worker ends."""
        for download in self._downloads.values():
            _try(lambda each=download: each.give_up(Reason.SHUTTING_DOWN))  # type: ignore[misc]


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        logger.exception("a download's record could not be written; it is tried again")


def _client(asking: Asking) -> tuple[str, str]:
    """Who has one address of an IPv6 /64 has all of them."""
    try:
        address = ip_address(asking.client)
    except ValueError:
        return asking.client, asking.user
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else asking.client, asking.user
