"""Named lists of hosts, such as categories: the ``host_list`` list."""

from pathlib import Path
from typing import Final

from pydantic import PrivateAttr, model_validator

from appliance.config.values import Domain, FilePath, Name, Node
from appliance.domain.hostlist import Flaw, HostEntries, parse_host_list

MAX_BYTES: Final = 64 * 1024 * 1024


class HostList(Node):
    """Hosts under a name that decryption rules refer to. The file is read with the configuration: all processes see the
    same entries until the next reload."""

    name: Name
    """What rules refer to it by."""
    hosts: list[Domain] = []
    """Entries written here."""
    file: FilePath | None = None
    """A text file with further entries, one a line: a host, `.suffix` for a domain with everything below it, or an IP
    address; `#` begins a comment, and lines of hosts files (`0.0.0.0 name`) are read as well. At most 64 MiB and
    1,000,000 entries; a line that is none of these is an error."""
    _read: HostEntries = PrivateAttr(default=HostEntries(()))

    @model_validator(mode="after")
    def _read_file(self) -> "HostList":
        if self.file is not None:
            self._read = read_host_list(self.file)
        return self

    @property
    def entries(self) -> tuple[str, ...]:
        """Those written here, then those of the file."""
        return (*self.hosts, *self._read.entries)

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What is wrong with the file. A list with flaws must not be used."""
        return self._read.flaws


def read_host_list(file: Path) -> HostEntries:
    """The file's entries; that it cannot be read is a flaw of line 0."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            return HostEntries((), (Flaw(0, "is larger than 64 MiB"),))
        return parse_host_list(raw.decode("utf-8"))
    except OSError as error:
        return HostEntries((), (Flaw(0, f"cannot be read: {error.strerror}"),))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return HostEntries((), (Flaw(line, "is not UTF-8 text"),))
