"""Our own ICAP server: ``icap_server``."""

from pydantic import Field, model_validator

from appliance.config.icap_listen import IcapTlsListen, IcapUnixListen
from appliance.config.scanners import ClamdScanner, HashScanner, Scanner
from appliance.config.values import Listen, Node, Seconds


class IcapServer(Node):
    """An ICAP server (RFC 3507) that hands bodies to a scanner. ``listen``, ``tls`` and ``unix`` are ways to reach it; one of
    them is needed."""

    listen: Listen | None = None
    """``icap://``. It has no authentication: keep it on loopback or a private network."""
    tls: IcapTlsListen | None = None
    """``icaps://``."""
    unix: IcapUnixListen | None = None
    """A unix socket."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the addresses. Limits below, and the scanner's, are for each of them."""
    in_workers: bool = False
    """The appliance's own messages to ``listen`` or ``unix`` are scanned in the worker that has them, without ICAP and this
    server's processes in between, which serve others as before. Only with scanners that take no body apart: clamd, which is a
    process of its own, and hash lists, which each worker then keeps in memory. The scanners' limits are then for each worker
    as well."""
    scanner: ClamdScanner | None = None
    """What judges the bodies: the short form of ``scanners`` with one clamd."""
    scanners: list[Scanner] = []
    """What judges the bodies: each sees every body, and the strictest verdict counts. A find counts even where another scanner
    failed; a failure of one is an error, whatever the others say."""
    preview: int = Field(1024, ge=0)
    """Bytes of a body that a client sends first (RFC 3507 section 4.5)."""
    max_connections: int = Field(512, ge=1)
    """Further connections are closed at once."""
    idle_timeout: Seconds = 120.0
    """A connection without a request."""
    header_timeout: Seconds = 10.0
    """From the first byte of a request to the end of its header sections."""
    body_timeout: Seconds = 30.0
    """Between two reads of a body."""

    @model_validator(mode="after")
    def _serves(self) -> "IcapServer":
        if self.listen is None and self.tls is None and self.unix is None:
            raise ValueError("give listen, tls or unix: where clients reach it")
        if (self.scanner is None) == (not self.scanners):
            raise ValueError("give scanner or scanners")
        parsing = [each.name for each in self.judges if not isinstance(each, ClamdScanner | HashScanner)]
        if self.in_workers and parsing:
            raise ValueError(
                f"in_workers is for scanners of the types clamd and hashes: {', '.join(parsing)} takes bodies apart, which "
                "belongs in a process that holds no traffic; remove in_workers"
            )
        return self

    @property
    def listens(self) -> dict[str, Listen]:
        """Where it listens for TCP, by the key that says so."""
        given = {"listen": self.listen, "tls.listen": self.tls.listen if self.tls is not None else None}
        return {key: listen for key, listen in given.items() if listen is not None}

    @property
    def judges(self) -> list[Scanner]:
        """The scanners in order, however they are written."""
        return [self.scanner] if self.scanner is not None else self.scanners

    @property
    def clamd(self) -> ClamdScanner | None:
        """The clamd that is managed, or else the first."""
        clamds = [scanner for scanner in self.judges if isinstance(scanner, ClamdScanner)]
        return next((scanner for scanner in clamds if scanner.managed), clamds[0] if clamds else None)

    def with_clamd(self, clamd: ClamdScanner) -> "IcapServer":
        """The same with another in the place of ``clamd``."""
        if self.scanner is not None:
            return self.model_copy(update={"scanner": clamd})
        return self.model_copy(update={"scanners": [clamd if each is self.clamd else each for each in self.scanners]})
