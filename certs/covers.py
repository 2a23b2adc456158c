"""Is a certificate for this host?"""

from cryptography import x509

from appliance.domain.target import parse_ip


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether one of its dNSName or iPAddress entries is this normalised host (RFC 9525 section 6.3): ``*`` stands for one
    whole label, the first. The common name does not count."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    address = parse_ip(host)
    if address is not None:
        return address in names.get_values_for_type(x509.IPAddress)
    first, _, rest = host.partition(".")
    wanted = {host, f"*.{rest}"} if first and "." in rest else {host}
    return any(name.lower() in wanted for name in names.get_values_for_type(x509.DNSName))
