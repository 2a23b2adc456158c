"""What a page says to a person: a heading and an advice for each kind of reason, in plain words."""

from typing import Final

from appliance.domain.reason import Reason, Source

SETUP: Final = "Set up this device for this network"

_BY_REASON: Final = {
    Reason.MALWARE_FOUND: ("Dangerous content blocked", "The content was not delivered. Nothing was saved on your device."),
    Reason.AUTH_REQUIRED: ("Sign-in needed", "Sign in with the name and password of your network account, then try again."),
    Reason.AUTH_FAILED: ("Sign-in failed", "Check the name and the password, then try again."),
    Reason.RATE_LIMITED: ("Too many requests", "Wait a moment, then try again."),
    Reason.TOO_MANY_CONNECTIONS: ("Too many connections", "Close other pages or downloads, then try again."),
    Reason.RESOURCE_EXHAUSTED: ("Too busy", "Wait a moment, then try again."),
    Reason.SHUTTING_DOWN: ("Short interruption", "Try again in a few seconds."),
}

_BY_SOURCE: Final = {
    Source.POLICY: ("Access blocked", "If you need this page for your work, ask for it and give the request number below."),
    Source.ICAP: ("Content not delivered", "Try again later. If it happens again, report the request number below."),
    Source.UPSTREAM: ("The site cannot be reached", "Try again later. The problem is on the way to the site or at the site."),
    Source.CLIENT: ("The request cannot be processed", "If a browser shows this page again, report the request number below."),
    Source.INTERNAL: ("Something went wrong here", "Try again later. If it happens again, report the request number below."),
    Source.NONE: ("Something went wrong here", "Try again later."),
}


PROCEED: Final = "Go on to the site anyway"


def proceed_text(seconds: float) -> str:
    """What stands above the button of a warning."""
    count, unit = (round(seconds / 3600), "hour") if seconds >= 3600 else (max(1, round(seconds / 60)), "minute")
    plural = "" if count == 1 else "s"
    return (
        "Somebody may be reading along, or the site may not be the one that it says it is. If you go on all the same, it is "
        f"recorded, and you are not asked again for {count} {unit}{plural}."
    )


def heading(reason: Reason) -> str:
    return _wording(reason)[0]


def advice(reason: Reason) -> str:
    return _wording(reason)[1]


def _wording(reason: Reason) -> tuple[str, str]:
    if reason.word.startswith("upstream_cert_"):
        return "The site's identity cannot be verified", "The connection was stopped before anything was sent to the site."
    if reason.word.startswith("upstream_tls_") and reason is not Reason.UPSTREAM_TLS_FAILED:
        return "The site's connection is not safe", "The connection was stopped before anything was sent to the site."
    return _BY_REASON.get(reason) or _BY_SOURCE[reason.source]
