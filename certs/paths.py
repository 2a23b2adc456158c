"""Ways from a server's certificate up to an anchor, where there are several (RFC 4158).

OpenSSL takes the first that it sees and does not come back. Cross-signed CAs, and CAs that change their key, have several
certificates of one name, and browsers try them all.
"""

from collections.abc import Iterator, Sequence

from cryptography import x509

MAX_PATHS = 8
MAX_STEPS = 200
"""Certificates looked at in one search. A server may send twenty of one name, which have more orders than atoms."""


def paths(
    sent: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], depth: int
) -> Iterator[tuple[list[x509.Certificate], x509.Certificate]]:
    """Ways by names and key identifiers, shortest first from each certificate: what stands below the anchor, leaf first, and
    the anchor. Nothing is verified. ``depth``: how many certificates may stand above the leaf."""
    search = _Search(list(sent[1:]), anchors, depth)
    for number, found in enumerate(search.upwards([sent[0]])):
        if number == MAX_PATHS:
            return
        yield found


class _Search:
    def __init__(self, sent: list[x509.Certificate], anchors: Sequence[x509.Certificate], depth: int) -> None:
        self._sent, self._anchors, self._depth = sent, anchors, depth
        self._steps = 0

    def upwards(self, below: list[x509.Certificate]) -> Iterator[tuple[list[x509.Certificate], x509.Certificate]]:
        for anchor in self._anchors:
            if _may_have_signed(anchor, below[-1]):
                yield below, anchor
        if len(below) >= self._depth:
            return
        for issuer in self._sent:
            self._steps += 1
            if self._steps > MAX_STEPS:
                return
            if issuer not in below and _may_have_signed(issuer, below[-1]):
                yield from self.upwards([*below, issuer])


def _may_have_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    named, own = _identifier(certificate, x509.AuthorityKeyIdentifier), _identifier(issuer, x509.SubjectKeyIdentifier)
    return named is None or own is None or named == own


def _identifier(
    certificate: x509.Certificate, kind: type[x509.AuthorityKeyIdentifier] | type[x509.SubjectKeyIdentifier]
) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value.key_identifier
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
