"""The cabinets of all tenants, under ``state_dir``."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.domain.quarantine import QuarantineError
from appliance.quarantine.cabinet import Cabinet
from appliance.quarantine.sealed_file import Ring

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
"""As in the configuration: no part of it leads out of the folder."""


class QuarantineStore:
    """``ring``: the keys in a file; raises ArcusError. Each tenant has a folder and a key of its own."""

    def __init__(self, folder: Path, keys: Path, ring: Callable[[Path], Ring]) -> None:
        self._folder = folder
        self._keys = keys
        self._ring = ring

    def tenants(self) -> list[str]:
        """Those that have a cabinet, also where the configuration does not know them any more."""
        if not self._folder.is_dir():
            return []
        names = [each.name for each in self._folder.iterdir() if _TENANT.match(each.name)]
        return sorted(name for name in names if self.key(name).exists())

    def cabinet(self, tenant: str) -> Cabinet:
        """Raises QuarantineError: there is none; ArcusError: its key cannot be read."""
        if not _TENANT.match(tenant) or not self.key(tenant).exists():
            raise QuarantineError(f"tenant {tenant[:64]!r} has no quarantine", "`quarantine.tenants` names those that have one")
        return Cabinet(self._folder / tenant, tenant, self._ring(self.key(tenant)))

    def key(self, tenant: str) -> Path:
        return self._keys / tenant
