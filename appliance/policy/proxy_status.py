"""The Proxy-Status field (RFC 9209): which of the registered errors a reason word is, for clients that read no pages."""

from typing import Final

from appliance.domain.reason import Reason, Source

NAME: Final = "arcus"

_BY_REASON: Final = {
    Reason.DNS_FAILED: "dns_error",
    Reason.CONNECT_REFUSED: "connection_refused",
    Reason.CONNECT_TIMEOUT: "connection_timeout",
    Reason.UPSTREAM_CLOSED: "connection_terminated",
    Reason.UPSTREAM_TIMEOUT: "http_response_timeout",
    Reason.UPSTREAM_PROTOCOL: "http_protocol_error",
    Reason.UPSTREAM_AMBIGUOUS: "http_protocol_error",
    Reason.UPSTREAM_HEADER_TOO_LARGE: "http_response_header_section_size",
    Reason.UPSTREAM_CLIENT_CERT: "tls_alert_received",
    Reason.EGRESS_DENIED: "destination_ip_prohibited",
    Reason.NO_ESCAPER: "proxy_configuration_error",
    Reason.MALWARE_FOUND: "http_request_denied",
    Reason.ICAP_BLOCKED: "http_request_denied",
}

_BY_SOURCE: Final = {
    Source.CLIENT: "http_request_error",
    Source.UPSTREAM: "destination_unavailable",
    Source.POLICY: "http_request_denied",
    Source.ICAP: "proxy_internal_error",
    Source.INTERNAL: "proxy_internal_error",
    Source.NONE: "proxy_internal_error",
}


def error_type(reason: Reason) -> str:
    """The registered error type of RFC 9209 section 2.3 that comes closest."""
    if reason.word.startswith("upstream_cert_"):
        return "tls_certificate_error"
    if reason.word.startswith("upstream_tls_"):
        return "tls_protocol_error"
    return _BY_REASON.get(reason) or _BY_SOURCE[reason.source]


def proxy_status(reason: Reason) -> str:
    """The field's value. The reason word stands in ``details``, where the RFC wants what only the operator understands."""
    return f'{NAME}; error={error_type(reason)}; details="{reason.word}"'
