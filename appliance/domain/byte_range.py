"""Which octets of a file a request asks for (RFC 9110 section 14)."""

import re
from collections.abc import Collection
from typing import Final

_ONE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\Z", re.ASCII)


class Unsatisfiable(ValueError):
    """No octet of the range is there: 416."""


def wanted(value: str, if_range: str, validators: Collection[str], size: int) -> tuple[int, int] | None:
    """The octets from the first to before the second; None: the whole.

    ``value`` and ``if_range`` are the fields' values, empty without the field; ``validators``: the strong ones of what there is
    (ETag, Last-Modified). Several ranges, other units and what cannot be read are answered with the whole, as a server may.

    Raises Unsatisfiable.
    """
    found = _ONE.match(value.strip())
    if found is None or (if_range and if_range.strip() not in validators):
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), size if last is None else min(int(last) + 1, size)
        if last is not None and int(last) < start:
            return None
    if start >= end:
        raise Unsatisfiable(f"{value} of {size} octets")
    return start, end
