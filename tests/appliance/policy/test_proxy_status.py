import re

import pytest

from appliance.domain.reason import Reason, Source
from appliance.policy.proxy_status import error_type, proxy_status

REGISTERED = {
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout", "connection_read_timeout",
    "connection_write_timeout", "connection_limit_reached", "tls_protocol_error", "tls_certificate_error", "tls_alert_received",
    "http_request_error", "http_request_denied", "http_response_incomplete", "http_response_header_section_size",
    "http_response_header_size", "http_response_body_size", "http_response_trailer_section_size",
    "http_response_trailer_size", "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout",
    "http_upgrade_failed", "http_protocol_error", "proxy_internal_response", "proxy_internal_error",
    "proxy_configuration_error", "proxy_loop_detected",
}  # fmt: skip
"""RFC 9209, section 2.3."""


@pytest.mark.parametrize("reason", list(Reason))
def test_c32_every_reason_has_a_registered_error(reason: Reason) -> None:
    assert error_type(reason) in REGISTERED
    assert re.fullmatch(r'arcus; error=[a-z_]+; details="[a-z0-9_]+"', proxy_status(reason))


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.DNS_FAILED, "dns_error"),
        (Reason.CONNECT_REFUSED, "connection_refused"),
        (Reason.CONNECT_TIMEOUT, "connection_timeout"),
        (Reason.UPSTREAM_TIMEOUT, "http_response_timeout"),
        (Reason.UPSTREAM_CERT_EXPIRED, "tls_certificate_error"),
        (Reason.UPSTREAM_TLS_FAILED, "tls_protocol_error"),
        (Reason.EGRESS_DENIED, "destination_ip_prohibited"),
        (Reason.POLICY_BLOCKED, "http_request_denied"),
        (Reason.BAD_REQUEST, "http_request_error"),
        (Reason.NO_ESCAPER, "proxy_configuration_error"),
        (Reason.INTERNAL_ERROR, "proxy_internal_error"),
        (Reason.ICAP_TIMEOUT, "proxy_internal_error"),
    ],
)
def test_c32_error_classes(reason: Reason, error: str) -> None:
    assert error_type(reason) == error


def test_upstream_reasons_never_blame_the_request() -> None:
    upstream = {error_type(reason) for reason in Reason if reason.source is Source.UPSTREAM}
    assert not upstream & {"http_request_error", "http_request_denied", "proxy_internal_error"}
