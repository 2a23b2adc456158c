"""A scan's result as headers of an ICAP answer."""

import re
from typing import Final

from icap.protocol.headers import Field
from icap.server.scanners.scanner import Grounds, ScanOutcome, ScanResult

JUDGED_BY_BODY: Final[Field] = ("X-Arcus-Judged", "body")
_NOT_PLAIN: Final = re.compile(r"[^ -:<-~]")
_MAX_TEXT: Final = 200
_MAX_PARTS: Final = 16


def threat_name(result: ScanResult) -> str:
    """As it may stand in X-Infection-Found, whose fields end in semicolons."""
    return _plain(result.signature)


def facts(result: ScanResult, grounds: Grounds) -> tuple[Field, ...]:
    """Who judged what, for any answer. ``X-Arcus-Judged: body`` says that the same body would be judged the same under any
    head with the same Content-Encoding."""
    fields: list[Field] = [("X-Arcus-Scanner", _plain(result.engine) or "unknown")]
    fields.append(("X-Arcus-Scan", f"ms={result.ms}; size={result.size}; sha256={result.sha256}"))
    fields += [("X-Arcus-Scanner-Result", _part(part)) for part in (result.parts or (result,))[:_MAX_PARTS]]
    if result.unscanned:
        fields.append(("X-Arcus-Unscanned", _plain(result.unscanned)))
    if grounds < Grounds.HEAD:
        fields.append(JUDGED_BY_BODY)
    return tuple(fields)


def refusal(result: ScanResult) -> tuple[Field, ...]:
    """For the answer to a body that is refused (draft-stecher-icap-subid-00 section 4.5: type 0 is a virus, 2 a violation
    concerning a container)."""
    name, virus = threat_name(result), result.outcome is ScanOutcome.INFECTED
    fields: tuple[Field, ...] = (("X-Infection-Found", f"Type={0 if virus else 2}; Resolution=2; Threat={name};"),)
    return (*fields, ("X-Virus-ID", name)) if virus else (*fields, ("X-Arcus-Reason", result.reason.word))


def _part(part: ScanResult) -> str:
    more = part.signature or part.unscanned or (part.detail if part.outcome is ScanOutcome.ERROR else "")
    text = f"{part.scanner or 'scanner'} {part.outcome.value} {part.ms:g} ms"
    return _plain(f"{text}, {more}" if more else text)


def _plain(text: str) -> str:
    return _NOT_PLAIN.sub("", text)[:_MAX_TEXT]
