"""What happens when the names of one connection do not agree: ``auditor.name_consistency``."""

from typing import Literal

from appliance.config.values import Node


class NameConsistency(Node):
    """A client says several times where it wants to go: by CONNECT, SOCKS or an address, in its TLS hello, in each request.
    Policies and decryption rules judge every one of these names, and the strictest answer counts; here stands what else
    happens when they differ. Each difference stands in the audit record, as `mismatches`."""

    sni: Literal["log", "block"] = "log"
    """The server name in TLS is not the host of the CONNECT or SOCKS request."""
    host: Literal["log", "block"] = "block"
    """A request's Host or :authority is another name than the connection's, and the server's certificate is not for it:
    domain fronting. block answers 421, after which an honest client opens another connection."""
    reuse: Literal["log", "block"] = "log"
    """The same, but the server's certificate is for that name as well: browsers reuse HTTP/2 connections so."""
    address: Literal["use_name", "block", "log"] = "use_name"
    """The client chose an address, as on a redirected connection, that is none of its name's. use_name: connect to the
    name's own address; also where the name cannot be resolved here, as behind a parent proxy. log: connect to the address
    that the client chose; a spliced connection goes to the name's own all the same."""
