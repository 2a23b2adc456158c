"""Why bytes went past the scanner: every way there is, one word each."""

from appliance.domain.words import Word


class NotScanned(Word):
    """The word is the value; it stands in audit records and metrics."""

    NO_SERVICE = "no_service", "The tenant has no service for this direction."
    RULE = "rule", "A rule of the auditor with `use: none`; its name follows."
    NOT_SAMPLED = "not_sampled", "`application_audit_ratio` left the connection out."
    TOO_LARGE = "too_large", "Larger than `max_scan_size`, and `oversize` is bypass."
    HEAD_ONLY = "head_only", "What follows the first `max_scan_size` bytes, where `oversize` is head."
    NO_ROOM = "no_room", "No room was left to hold the body for its scan, and `oversize` is bypass."
    SCAN_FAILED = (
        "scan_failed",
        "The scan failed, or its service is known to be down, and the service's policy is bypass; the scan's own entry has the "
        "reason. It may be a request without a body: its head was not judged.",
    )
    SKIPPED = "skipped", "The service wants no such bodies (Transfer-Ignore), and the configuration lets it choose."
    STREAMED = "streamed", "An answer without an end, such as an event stream, and `event_stream` is bypass."
    UNDECODABLE = "undecodable", "A content coding that the scanner does not undo, and `undecodable` is bypass."
    ENCRYPTED = "encrypted", "An archive or a document that only its reader can open; the scanner let it pass."
    PART = "part", "A part of a resource was scanned alone: a signature that lies across two parts is not found."
    WEBSOCKET = "websocket", "WebSocket messages that nobody judges: `websocket` is bypass, or a direction has no service."
    TRAILERS = "trailers", "Fields behind a body, and `trailers` is pass or nobody judges the body either."
    SPLICED = "spliced", "Never decrypted."
    UNJUDGED = "unjudged", "Sent before a verdict that never came, because the transfer ended first (`trickle`)."
