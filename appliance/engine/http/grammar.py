"""The terminals of RFC 9110 and RFC 9112 as compiled patterns, and the parser of a block of field lines.

Every quantifier that could overlap its successor is possessive, so a hostile block costs one linear pass.
"""

import re

from appliance.engine.http.faults import BadMessage, Fault

type Field = tuple[bytes, bytes]

_TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
_TEXT = rb"\t\x20-\x7e\x80-\xff"

TOKEN = re.compile(rb"[" + _TOKEN + rb"]++\Z")
LOWER_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++\Z")
VALUE = re.compile(rb"(?![\t ])[" + _TEXT + rb"]*(?<![\t ])\Z")
FIELD_BLOCK = re.compile(rb"(?:[" + _TOKEN + rb"]++:[" + _TEXT + rb"]*+\r\n)*+")
REQUEST_LINE = re.compile(rb"([" + _TOKEN + rb"]{1,32}) ([\x21-\x7e]++) HTTP/1\.([01])\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([" + _TEXT + rb"]*+))?\Z")
PATH = re.compile(rb"/[\x21\x22\x24-\x7e]*+\Z")
ABSOLUTE_URI = re.compile(rb"([Hh][Tt][Tt][Pp][Ss]?)://([A-Za-z0-9\-._\[\]:]++)((?:[/?][\x21\x22\x24-\x7e]*+)?)\Z")
CONTENT_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z")
ILLEGAL_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
"""Octets that no head may contain, whatever follows: found in a head that is still incomplete, they end the wait."""

_FIELD_NAME = re.compile(rb"[" + _TOKEN + rb"]++:")


def parse_fields(block: bytes, max_count: int) -> list[Field]:
    """The field lines of ``block``, which is empty or ends with CRLF.

    Raises:
        BadMessage: not ``field-name ":" OWS field-value OWS`` line by line (obs-fold, whitespace before the colon,
            control octets, bare CR or LF), or more than ``max_count`` lines.
    """
    if FIELD_BLOCK.fullmatch(block) is None:
        raise BadMessage(Fault.GRAMMAR, _explain(block))
    lines = block.split(b"\r\n")
    lines.pop()
    if len(lines) > max_count:
        raise BadMessage(Fault.FIELD_COUNT, f"more than {max_count} field lines")
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return fields


def _explain(block: bytes) -> str:
    """Why a block is refused; the offending octets themselves are not repeated, they may hold credentials."""
    for number, line in enumerate(block.split(b"\r\n")[:-1], 1):
        if line[:1] in (b" ", b"\t"):
            return f"field line {number} is folded"
        if _FIELD_NAME.match(line) is None:
            return f"field line {number} has no valid name"
        if ILLEGAL_IN_HEAD.search(line):
            return f"field line {number} holds a control octet"
    return "the field section is malformed"
