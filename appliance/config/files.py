"""The files that a configuration names: there, readable, and what they are taken for."""

import ssl
from collections.abc import Iterator
from pathlib import Path as File
from typing import Final

from appliance.config.client_certificates import ClientCertificate
from appliance.config.document import Path
from appliance.config.scanners import ClamdScanner, HashScanner, YaraScanner
from appliance.config.server import HttpProxy
from appliance.config.view import View

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""A bundle of all public roots is 250 KB."""
_MAX_SOCKET_PATH: Final = 107
"""sun_path has 108 bytes, the terminating zero included (unix(7))."""


def check_files(view: View) -> None:
    for path, file in _certificates(view):
        if problem := _readable(file) or _no_certificates(file):
            view.error(path, f"{file}: {problem}")
    for path, certificate, key in _pairs(view):
        _check_pair(view, path, certificate, key)
    for path, service in view.each("icap_service"):
        if service.tls_certificate is not None or service.tls_private_key is not None:
            _check_pair(view, path, service.tls_certificate, service.tls_private_key, "tls_")
    _keys_of_clients(view)
    _host_lists(view)
    _scanner(view)
    state = view.config.state_dir
    if state.exists() and not state.is_dir():
        view.error(("state_dir",), f"{state}: is no folder")


def _certificates(view: View) -> Iterator[tuple[Path, File]]:
    """Files of roots."""
    for path, auditor in view.each("auditor"):
        for index, file in enumerate(auditor.tls_interception.upstream_trust.ca_files if auditor.tls_interception else []):
            yield (*path, "tls_interception", "upstream_trust", "ca_files", index), file
    for path, escaper in view.each("escaper"):
        client = getattr(escaper, "tls_client", None)
        if client is not None and client.ca_certificate is not None:
            yield (*path, "tls_client", "ca_certificate"), client.ca_certificate
    for path, service in view.each("icap_service"):
        if service.tls_ca is not None:
            yield (*path, "tls_ca"), service.tls_ca
    icap = view.config.icap_server.tls if view.config.icap_server else None
    if icap is not None and icap.client_ca is not None:
        yield ("icap_server", "tls", "client_ca"), icap.client_ca


def _pairs(view: View) -> Iterator[tuple[Path, File | None, File | None]]:
    for path, ca in view.each("ca"):
        if ca.pkcs11 is None and (ca.certificate is not None or ca.private_key is not None):
            yield path, ca.certificate, ca.private_key
    for path, _, node in _client_certificates(view):
        yield path, node.certificate, node.private_key
    for path, server in view.each("server"):
        if isinstance(server, HttpProxy) and server.tls is not None:
            yield (*path, "tls"), server.tls.certificate, server.tls.private_key
    icap = view.config.icap_server.tls if view.config.icap_server else None
    if icap is not None:
        yield ("icap_server", "tls"), icap.certificate, icap.private_key


def _client_certificates(view: View) -> Iterator[tuple[Path, Path, ClientCertificate]]:
    """Path of the entry, path of its auditor, and the entry."""
    for path, auditor in view.each("auditor"):
        nodes = auditor.tls_interception.client_certificates if auditor.tls_interception else []
        for index, node in enumerate(nodes):
            yield (*path, "tls_interception", "client_certificates", index), path, node


def _keys_of_clients(view: View) -> None:
    """A key that speaks for a person or a company to servers is nobody else's to read; names are told apart in health."""
    seen: set[tuple[Path, str]] = set()
    for path, auditor, node in _client_certificates(view):
        if (auditor, node.name) in seen:
            view.error((*path, "name"), f"there is another client certificate {node.name!r} in this auditor")
        seen.add((auditor, node.name))
        try:
            mode = node.private_key.stat().st_mode & 0o777
        except OSError:
            continue  # told as unreadable
        if mode & 0o077:
            view.error((*path, "private_key"), f"{node.private_key}: others can read it (mode {mode:04o}); chmod 600")


def _check_pair(view: View, path: Path, certificate: File | None, key: File | None, prefix: str = "") -> None:
    names = f"{prefix}certificate", f"{prefix}private_key"
    if certificate is None or key is None:
        given, absent = names if key is None else names[::-1]
        view.error((*path, given), f"{given} is given without {absent}")
        return
    files = ((names[0], certificate), (names[1], key))
    unreadable = [(name, file, problem) for name, file in files if (problem := _readable(file))]
    for name, file, problem in unreadable:
        view.error((*path, name), f"{file}: {problem}")
    if not unreadable:
        _belong_together(view, path, names, certificate, key)


def _belong_together(view: View, path: Path, names: tuple[str, str], certificate: File, key: File) -> None:
    if problem := _no_certificates(certificate):
        view.error((*path, names[0]), f"{certificate}: {problem}")
        return
    asked: list[bool] = []

    def passphrase() -> str:
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError, OSError) as error:
        view.error((*path, names[1]), f"{key}: {_pair_problem(error, bool(asked), certificate)}")


def _pair_problem(error: Exception, encrypted: bool, certificate: File) -> str:
    if encrypted:
        return "the private key is protected by a passphrase"
    reason = getattr(error, "reason", None) or str(error)
    if "KEY_VALUES_MISMATCH" in reason or "KEY_TYPE_MISMATCH" in reason:
        return f"the private key does not belong to the certificate in {certificate}"
    if "KEY_TOO_SMALL" in reason or "MD_TOO_WEAK" in reason:
        return f"too weak: {reason.lower().replace('_', ' ')}"
    return "holds no private key in PEM form"


def _readable(file: File) -> str:
    try:
        with file.open("rb") as stream:
            return "is empty" if not stream.read(1) else "is larger than 4 MiB" if file.stat().st_size > MAX_FILE_BYTES else ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _no_certificates(file: File) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError):
        return "holds no certificate in PEM form"
    return ""


def _host_lists(view: View) -> None:
    """Each bad line at its own file and line."""
    for path, node in view.each("host_list"):
        for flaw in node.flaws:
            view.findings.elsewhere((*path, "file"), str(node.file), flaw.line, flaw.message)


def _scanner(view: View) -> None:
    own = view.config.icap_server
    if own is None:
        return
    if own.unix is not None and len(str(own.unix.path).encode()) > _MAX_SOCKET_PATH:
        view.error(("icap_server", "unix", "path"), f"longer than {_MAX_SOCKET_PATH} bytes, which no socket can have")
    if own.scanner is not None:
        _clamd(view, ("icap_server", "scanner"), own.scanner)
    for index, scanner in enumerate(own.scanners):
        where = ("icap_server", "scanners", index)
        if isinstance(scanner, ClamdScanner):
            _clamd(view, where, scanner)
            if scanner.managed and scanner is not own.clamd:
                view.error((*where, "managed"), "one clamd can be managed, and another is already")
        elif isinstance(scanner, HashScanner):
            for number, file in enumerate(scanner.files):
                if not file.is_file():
                    view.error((*where, "files", number), f"{file}: no such file")
        elif isinstance(scanner, YaraScanner) and not scanner.directory.is_dir():
            view.error((*where, "directory"), f"{scanner.directory}: no such directory")
    names = [scanner.name for scanner in own.scanners]
    for index, name in enumerate(names):
        if name in names[:index]:
            view.error(("icap_server", "scanners", index, "name"), f"two scanners are called {name!r}: give one another name")


def _clamd(view: View, where: tuple[str | int, ...], scanner: ClamdScanner) -> None:
    given = [scanner.socket is not None, scanner.tcp is not None, bool(scanner.endpoints)]
    if scanner.endpoints and (sum(given) > 1 or scanner.managed):
        view.error(where, "give endpoints alone: neither socket nor tcp, and none is managed")
    elif scanner.socket is not None and len(str(scanner.socket).encode()) > _MAX_SOCKET_PATH:
        view.error((*where, "socket"), f"longer than {_MAX_SOCKET_PATH} bytes, which no socket can have")
    elif scanner.socket is not None and scanner.tcp is not None:
        view.error(where, "give socket or tcp, not both")
    elif not any(given) and not scanner.managed:
        view.error(where, "give socket or tcp, or set managed: true")
    elif scanner.socket is not None and not scanner.managed and not scanner.socket.exists():
        view.warn((*where, "socket"), f"{scanner.socket}: not there; until clamd listens, nothing can be scanned")
