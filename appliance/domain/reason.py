"""Reason words: one enum that audit records, metric labels, block pages and the documentation share.

A reason says why a task ended the way it did. Each word carries the HTTP status that a client sees when there is
a response to send, the party that caused it, and one sentence for a person.
"""

from dataclasses import dataclass
from enum import Enum


class Source(Enum):
    """Who caused it."""

    NONE = "none"
    CLIENT = "client"
    UPSTREAM = "upstream"
    POLICY = "policy"
    ICAP = "icap"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class _About:
    status: int
    source: Source
    text: str


class Reason(Enum):
    """The word is the value. ``Reason("port_denied").status`` is 403."""

    word: str
    status: int
    source: Source
    text: str

    def __new__(cls, word: str, about: _About) -> "Reason":
        member = object.__new__(cls)
        member._value_ = word
        member.word, member.status, member.source, member.text = word, about.status, about.source, about.text
        return member

    OK = "ok", _About(200, Source.NONE, "The task finished normally.")

    # the client
    CLIENT_CLOSED = "client_closed", _About(499, Source.CLIENT, "The client closed the connection before the end.")
    CLIENT_SILENT = "client_silent", _About(408, Source.CLIENT, "The client sent nothing within the time limit.")
    HEADER_TIMEOUT = "header_timeout", _About(408, Source.CLIENT, "The request header did not arrive within the time limit.")
    BODY_TIMEOUT = "body_timeout", _About(408, Source.CLIENT, "The request body stalled longer than the idle limit.")
    CLIENT_STALLED = (
        "client_stalled",
        _About(408, Source.CLIENT, "The client took nothing of the answer for too long."),
    )
    DOWNLOAD_ABANDONED = (
        "download_abandoned",
        _About(499, Source.CLIENT, "Nobody waited for the download on its page, or nobody fetched it in time."),
    )
    IDLE_TIMEOUT = "idle_timeout", _About(408, Source.CLIENT, "The connection was idle longer than the limit.")
    HANDSHAKE_TIMEOUT = "handshake_timeout", _About(408, Source.CLIENT, "The handshake did not finish within the time limit.")
    BAD_REQUEST = "bad_request", _About(400, Source.CLIENT, "The request does not follow the HTTP grammar.")
    AMBIGUOUS_MESSAGE = (
        "ambiguous_message",
        _About(400, Source.CLIENT, "The message can be read in two ways, so it is not forwarded."),
    )
    HEADER_TOO_LARGE = "header_too_large", _About(431, Source.CLIENT, "The message header is larger than the limit.")
    TOO_MANY_HEADERS = "too_many_headers", _About(431, Source.CLIENT, "The message has more header fields than the limit.")
    URL_TOO_LONG = "url_too_long", _About(414, Source.CLIENT, "The request target is longer than the limit.")
    CHUNK_EXTENSION_TOO_LONG = (
        "chunk_extension_too_long",
        _About(400, Source.CLIENT, "A chunk extension is longer than the limit."),
    )
    TRAILERS_TOO_LARGE = "trailers_too_large", _About(400, Source.CLIENT, "The trailer section is larger than the limit.")
    HTTP2_FLOOD = "http2_flood", _About(400, Source.CLIENT, "More HTTP/2 frames or streams per second than the limit.")
    BAD_SOCKS = "bad_socks", _About(400, Source.CLIENT, "The SOCKS negotiation is malformed.")
    SOCKS_COMMAND = "socks_command_unsupported", _About(405, Source.CLIENT, "The SOCKS command is not supported.")
    BAD_CLIENT_HELLO = "bad_client_hello", _About(400, Source.CLIENT, "The TLS ClientHello is malformed or too large.")
    CLIENT_TLS_FAILED = "client_tls_failed", _About(400, Source.CLIENT, "The TLS handshake with the client failed.")
    CLIENT_REJECTED_LEAF = (
        "client_rejected_leaf",
        _About(400, Source.CLIENT, "The client refused our certificate: the CA is not installed, or the name is pinned."),
    )
    UNKNOWN_PROTOCOL = (
        "unknown_protocol",
        _About(400, Source.CLIENT, "The protocol is not known, and what cannot be inspected is not relayed."),
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        _About(503, Source.CLIENT, "The client has more connections open than the limit."),
    )

    # the upstream side
    DNS_FAILED = "dns_failed", _About(502, Source.UPSTREAM, "The name could not be resolved.")
    CONNECT_REFUSED = "connect_refused", _About(502, Source.UPSTREAM, "The server refused the connection.")
    CONNECT_TIMEOUT = "connect_timeout", _About(504, Source.UPSTREAM, "The server did not accept the connection in time.")
    CONNECT_FAILED = "connect_failed", _About(502, Source.UPSTREAM, "The connection to the server failed.")
    UPSTREAM_CLOSED = (
        "upstream_closed",
        _About(502, Source.UPSTREAM, "The server closed the connection before its answer was complete."),
    )
    UPSTREAM_TIMEOUT = "upstream_timeout", _About(504, Source.UPSTREAM, "The server did not answer in time.")
    UPSTREAM_PROTOCOL = "upstream_protocol", _About(502, Source.UPSTREAM, "The server's answer does not follow the protocol.")
    UPSTREAM_AMBIGUOUS = (
        "upstream_ambiguous",
        _About(502, Source.UPSTREAM, "The server's answer can be read in two ways, so it is not forwarded."),
    )
    UPSTREAM_HEADER_TOO_LARGE = (
        "upstream_header_too_large",
        _About(502, Source.UPSTREAM, "The server's answer has a header larger than the limit."),
    )
    UPSTREAM_AUTH_FAILED = "upstream_auth_failed", _About(502, Source.UPSTREAM, "The parent proxy refused our credentials.")
    UPSTREAM_PROXY_REFUSED = "upstream_proxy_refused", _About(502, Source.UPSTREAM, "The parent proxy refused to connect.")
    UPSTREAM_TLS_FAILED = "upstream_tls_failed", _About(502, Source.UPSTREAM, "The TLS handshake with the server failed.")
    UPSTREAM_TLS_VERSION = (
        "upstream_tls_version",
        _About(502, Source.UPSTREAM, "The server speaks no version of TLS that is allowed."),
    )
    UPSTREAM_TLS_CIPHER = (
        "upstream_tls_cipher",
        _About(502, Source.UPSTREAM, "The server speaks no cipher suite that is allowed."),
    )
    UPSTREAM_TLS_SIGNATURE = (
        "upstream_tls_signature",
        _About(502, Source.UPSTREAM, "The server signs the handshake in a way that is not allowed."),
    )
    UPSTREAM_TLS_KEY = "upstream_tls_key", _About(502, Source.UPSTREAM, "The server's key exchange is too weak.")
    UPSTREAM_CLIENT_CERT = (
        "upstream_client_cert",
        _About(502, Source.UPSTREAM, "The server asks for a certificate of the client, and takes none of ours."),
    )
    UPSTREAM_CERT_EXPIRED = (
        "upstream_cert_expired",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, has expired."),
    )
    UPSTREAM_CERT_NOT_YET_VALID = (
        "upstream_cert_not_yet_valid",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, is not valid yet."),
    )
    UPSTREAM_CERT_WRONG_HOST = (
        "upstream_cert_wrong_host",
        _About(502, Source.UPSTREAM, "The server's certificate is for another name."),
    )
    UPSTREAM_CERT_SELF_SIGNED = (
        "upstream_cert_self_signed",
        _About(502, Source.UPSTREAM, "The server's certificate is self-signed."),
    )
    UPSTREAM_CERT_UNTRUSTED = (
        "upstream_cert_untrusted",
        _About(502, Source.UPSTREAM, "The server's certificate is signed by an authority that is not trusted."),
    )
    UPSTREAM_CERT_INCOMPLETE = (
        "upstream_cert_incomplete_chain",
        _About(502, Source.UPSTREAM, "The server did not send the intermediate certificates."),
    )
    UPSTREAM_CERT_OWN_CA = (
        "upstream_cert_own_ca",
        _About(
            502, Source.UPSTREAM, "The server's certificate is signed by a CA of this appliance; no server has one of those."
        ),
    )
    UPSTREAM_CERT_DISTRUSTED = (
        "upstream_cert_distrusted",
        _About(
            502, Source.UPSTREAM, "The server's certificate, or one above it, has a key that is distrusted by configuration."
        ),
    )
    UPSTREAM_CERT_REVOKED = (
        "upstream_cert_revoked",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, has been revoked."),
    )
    UPSTREAM_CERT_REVOCATION_UNKNOWN = (
        "upstream_cert_revocation_unknown",
        _About(502, Source.UPSTREAM, "Whether the server's certificate has been revoked could not be found out."),
    )
    UPSTREAM_CERT_STAPLE_MISSING = (
        "upstream_cert_staple_missing",
        _About(502, Source.UPSTREAM, "The server's certificate demands an OCSP response that the server did not send."),
    )
    UPSTREAM_CERT_WEAK_KEY = (
        "upstream_cert_weak_key",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, has a weak key."),
    )
    UPSTREAM_CERT_WEAK_SIGNATURE = (
        "upstream_cert_weak_signature",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, is signed with a weak algorithm."),
    )
    UPSTREAM_CERT_BAD_SIGNATURE = (
        "upstream_cert_bad_signature",
        _About(502, Source.UPSTREAM, "A signature in the server's certificate chain is wrong."),
    )
    UPSTREAM_CERT_WRONG_EKU = (
        "upstream_cert_wrong_eku",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, is not meant for servers."),
    )
    UPSTREAM_CERT_KEY_USAGE = (
        "upstream_cert_key_usage",
        _About(502, Source.UPSTREAM, "The server's certificate may not be used the way the server uses it."),
    )
    UPSTREAM_CERT_NAME_CONSTRAINTS = (
        "upstream_cert_name_constraints",
        _About(502, Source.UPSTREAM, "An authority above the server's certificate may not certify this name."),
    )
    UPSTREAM_CERT_PATH_LENGTH = (
        "upstream_cert_path_length",
        _About(502, Source.UPSTREAM, "There are more authorities above the server's certificate than one of them allows."),
    )
    UPSTREAM_CERT_ISSUER_NOT_CA = (
        "upstream_cert_issuer_not_ca",
        _About(502, Source.UPSTREAM, "The server's certificate is signed by a certificate that is no CA's."),
    )
    UPSTREAM_CERT_CRITICAL_EXTENSION = (
        "upstream_cert_critical_extension",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, has a critical extension that is not known."),
    )
    UPSTREAM_CERT_CHAIN_TOO_LONG = (
        "upstream_cert_chain_too_long",
        _About(502, Source.UPSTREAM, "The server's certificate chain is longer than the limit."),
    )
    UPSTREAM_CERT_MALFORMED = (
        "upstream_cert_malformed",
        _About(502, Source.UPSTREAM, "The server's certificate, or one above it, is malformed."),
    )
    UPSTREAM_CERT_PROFILE = (
        "upstream_cert_profile",
        _About(502, Source.UPSTREAM, "The server's certificate breaks a rule that public CAs have to keep."),
    )
    UPSTREAM_CERT_INVALID = (
        "upstream_cert_invalid",
        _About(502, Source.UPSTREAM, "The server's certificate does not pass verification."),
    )

    # decisions
    NO_TENANT = "no_tenant", _About(403, Source.POLICY, "No tenant matches this client.")
    TENANT_SUSPENDED = "tenant_suspended", _About(403, Source.POLICY, "The tenant is suspended.")
    NETWORK_DENIED = "network_denied", _About(403, Source.POLICY, "The client's network may not use this listener.")
    AUTH_REQUIRED = "auth_required", _About(407, Source.POLICY, "Proxy authentication is required.")
    AUTH_FAILED = "auth_failed", _About(407, Source.POLICY, "The user name or the password is wrong.")
    USER_BLOCKED = "user_blocked", _About(403, Source.POLICY, "The user is blocked.")
    SOURCE_DENIED = "source_denied", _About(403, Source.POLICY, "The user may not connect from this address.")
    PORT_DENIED = "port_denied", _About(403, Source.POLICY, "The destination port is not allowed.")
    HOST_DENIED = "host_denied", _About(403, Source.POLICY, "The destination host is not allowed.")
    PROCEED_INVALID = (
        "proceed_invalid",
        _About(403, Source.POLICY, "The button of the warning page was not ours, or was changed."),
    )
    PROCEED_EXPIRED = "proceed_expired", _About(403, Source.POLICY, "The warning page is too old. Load the site again.")
    PROCEED_FOREIGN = (
        "proceed_foreign",
        _About(403, Source.POLICY, "The warning page was shown to another client or user, or for another site."),
    )
    PROCEED_CROSS_SITE = (
        "proceed_cross_site",
        _About(403, Source.POLICY, "Another site tried to press the warning page's button."),
    )
    PROCEED_FULL = "proceed_full", _About(503, Source.INTERNAL, "Too many warnings have been accepted. Try again later.")
    DOWNLOAD_INVALID = (
        "download_invalid",
        _About(403, Source.POLICY, "The address of the download was not ours, was changed, or is too old."),
    )
    DOWNLOAD_FOREIGN = (
        "download_foreign",
        _About(403, Source.POLICY, "The download belongs to another client or user, or to another site."),
    )
    POLICY_BLOCKED = "policy_blocked", _About(403, Source.POLICY, "A policy blocks this request.")
    POLICY_REDIRECTED = "policy_redirected", _About(302, Source.POLICY, "A policy redirects this request.")
    DECRYPT_BLOCKED = "decrypt_blocked", _About(403, Source.POLICY, "A decryption rule blocks this connection.")
    SNI_MISMATCH = (
        "sni_mismatch",
        _About(403, Source.POLICY, "The server name in TLS is not the host that the connection was asked for."),
    )
    HOST_MISMATCH = (
        "host_mismatch",
        _About(421, Source.POLICY, "The request is for a host that its connection does not lead to."),
    )
    ADDRESS_MISMATCH = (
        "address_mismatch",
        _About(403, Source.POLICY, "The address is none of those that the name stands for."),
    )
    NO_ESCAPER = "no_escaper", _About(503, Source.POLICY, "No way out is configured for this tenant.")
    DENIED_BY_ESCAPER = "denied_by_escaper", _About(403, Source.POLICY, "The way out for this destination is closed.")
    EGRESS_DENIED = "egress_denied", _About(403, Source.POLICY, "The destination's address may not be reached from here.")
    RATE_LIMITED = "rate_limited", _About(429, Source.POLICY, "More requests than the limit.")
    RESOURCE_EXHAUSTED = "resource_exhausted", _About(503, Source.POLICY, "A resource limit is reached.")
    BODY_TOO_LARGE = (
        "body_too_large",
        _About(413, Source.POLICY, "The body is larger than what is inspected, and what is not inspected is not passed."),
    )
    NOT_SCANNABLE = (
        "not_scannable",
        _About(403, Source.POLICY, "The content cannot be scanned, and what is not scanned is not passed."),
    )

    # scanning
    MALWARE_FOUND = "malware_found", _About(403, Source.ICAP, "The scanner found malware.")
    FILE_TYPE_BLOCKED = "file_type_blocked", _About(403, Source.ICAP, "A rule refuses files of this type.")
    ENCRYPTED_CONTENT = (
        "encrypted_content",
        _About(403, Source.ICAP, "The content is encrypted, so that no scanner can look into it."),
    )
    ICAP_BLOCKED = "icap_blocked", _About(403, Source.ICAP, "An ICAP service blocked the message.")
    ICAP_TIMEOUT = "icap_timeout", _About(503, Source.ICAP, "The ICAP service did not answer in time.")
    ICAP_UNREACHABLE = "icap_unreachable", _About(503, Source.ICAP, "The ICAP service cannot be reached.")
    ICAP_ERROR = "icap_error", _About(503, Source.ICAP, "The ICAP service answered with an error.")
    ICAP_PROTOCOL = "icap_protocol_error", _About(503, Source.ICAP, "The ICAP service's answer does not follow the protocol.")
    ICAP_OVERLOAD = "icap_overload", _About(503, Source.ICAP, "The ICAP service has more work than it takes.")
    ICAP_UNHEALTHY = (
        "icap_unhealthy",
        _About(503, Source.ICAP, "The ICAP service does not scan: it passes a test virus, or blocks a clean test message."),
    )
    SCANNER_UNREACHABLE = (
        "scanner_unreachable",
        _About(503, Source.ICAP, "The scanner behind the ICAP service cannot be reached."),
    )
    SCANNER_TIMEOUT = "scanner_timeout", _About(503, Source.ICAP, "The scanner did not finish in time.")
    SCANNER_ERROR = "scanner_error", _About(503, Source.ICAP, "The scanner answered with an error.")

    # ourselves
    INTERNAL_ERROR = "internal_error", _About(500, Source.INTERNAL, "An error in the appliance; the task was stopped.")
    SIGNER_UNAVAILABLE = (
        "signer_unavailable",
        _About(503, Source.INTERNAL, "The process that signs certificates does not answer in time."),
    )
    DOWNLOAD_LOST = "download_lost", _About(503, Source.INTERNAL, "The worker that held the download does not answer.")
    SHUTTING_DOWN = "shutting_down", _About(503, Source.INTERNAL, "The appliance is shutting down.")


_BY_WORD = {reason.word: reason for reason in Reason}


def reason_of(message: str) -> Reason | None:
    """The reason that an error message starts with (``word`` or ``word: detail``), if it starts with one."""
    return _BY_WORD.get(message.partition(":")[0])
