"""Named ICAP services: the ``icap_service`` list."""

from typing import Literal

from pydantic import Field, model_validator

from appliance.config.values import FilePath, IcapUri, Name, Node, Seconds

type IcapMethod = Literal["REQMOD", "RESPMOD"]
type OnFailure = Literal["block", "bypass"]


class IcapHealth(Node):
    """Whether a service scans is found out by an infected message (the EICAR test file), which must be blocked, and a clean
    one, which must pass. A service whose answers are others is down, from the start on. OPTIONS would not tell: it is
    answered by services whose scanner is dead."""

    interval: Seconds = Field(30.0, ge=0.1)
    """Between two checks of a worker, a tenth more or less at random."""
    timeout: Seconds = Field(10.0, ge=0.1)
    """For both messages together."""


class IcapService(Node):
    """An ICAP service. Auditors' rules, sets and chains name it. Counts and times are each worker's own."""

    name: Name
    """What rules, sets, chains, metrics and audit records refer to it by."""
    uri: IcapUri
    """``icap://host:1344/service``, ``icaps://host:11344/service`` or ``icap+unix:///path/to/socket:/service``."""
    methods: list[IcapMethod] = Field(["REQMOD", "RESPMOD"], min_length=1)
    """What it is used for: REQMOD is for requests, RESPMOD for responses. In a chain or set it is left out of the other."""
    on_error: OnFailure = "block"
    """When it cannot judge a message: stop the message, or pass it and record that it was not scanned."""
    on_overload: Literal["wait", "block", "bypass"] = "wait"
    """When all its connections are busy: wait for one, or do at once what `block` and `bypass` say; so it is done, too, when
    the service says that it has too much to do (503). Who waited in vain is treated by ``on_error``."""
    max_connections: int = Field(64, ge=1)
    """Connections of one worker. What the service itself allows (Max-Connections) is divided among the workers; each has one
    at least."""
    queue: int = Field(1024, ge=0)
    """Messages that may wait for a connection, with `wait`."""
    queue_timeout: Seconds = 10.0
    """How long each of them waits at most."""
    connect_timeout: Seconds = 2.0
    """Connecting, with TLS."""
    first_byte_timeout: Seconds = 30.0
    """From the last byte that was sent to the first of the answer: the time in which a scanner thinks."""
    between_bytes_timeout: Seconds = 10.0
    """Without a byte moving, while a message is sent or an answer comes."""
    timeout: Seconds = 30.0
    """One message, waiting for a connection included."""
    failure_limit: int = Field(10, ge=1)
    """Failures within ``failure_window`` that suspend the service."""
    failure_window: Seconds = 30.0
    """Only failures that are not older count."""
    revival_delay: Seconds = 10.0
    """How long a suspended service is left alone before it is checked again."""
    retry: bool = True
    """Send a message again, on a new connection, when a kept one turns out to have been closed. That is no failure."""
    repeats: int = Field(0, ge=0, le=3)
    """Times that a message is sent again after a real failure, each with its own ``timeout``."""
    honour_transfer_ignore: bool = False
    """Leave out what the service does not want to see, by the extension in the URL (Transfer-Ignore). An attacker chooses the
    extension, so an antivirus service must not have this."""
    health: IcapHealth | None = IcapHealth()
    """How it is checked; null for a service that is no virus scanner and lets EICAR pass."""
    send_identity: bool = True
    """Send it the fields about client and user, where the auditor sends them at all."""
    tls_ca: FilePath | None = None
    """For ``icaps:``: a PEM file with the authorities that the service's certificate may come from, instead of the system's."""

    tls_certificate: FilePath | None = None
    """For ``icaps:``: a certificate to show when the service asks for one, a PEM file with its chain."""
    tls_private_key: FilePath | None = None
    """Its key, as PEM without a passphrase."""
    allow_206: bool = False
    """Tell the service, when it offers it, that it may answer 206: the changed beginning of a body, and the rest as it was."""

    @model_validator(mode="after")
    def _tls(self) -> "IcapService":
        for key in ("tls_ca", "tls_certificate", "tls_private_key"):
            if getattr(self, key) is not None and not self.uri.startswith("icaps:"):
                raise ValueError(f"{key} is for icaps: URIs")
        return self
