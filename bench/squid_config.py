"""squid's configuration for the bench: bump everything, one process, an access log."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_TEXT = """\
{ports} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=16MB tls-cert={folder}/signing.pem
sslcrtd_program /usr/lib/squid/security_file_certgen -s {folder}/certificates -M 16MB
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile={roots}
pid_filename {folder}/squid.pid
cache_effective_user proxy
cache_log {folder}/cache.log
cache deny all
cache_mem 8 MB
coredump_dir {folder}
visible_hostname squid.bench.test
hosts_file /etc/hosts
shutdown_lifetime 1 seconds
http_access allow all
{more}
"""

_TRANSPARENT = """\
access_log stdio:{folder}/access.log
dns_nameservers 127.0.0.1
host_verify_strict off
max_filedescriptors 16384
client_idle_pconn_timeout 10 minutes
server_idle_pconn_timeout 10 minutes
"""

_EXPLICIT = """\
access_log none
forward_max_tries 1
connect_timeout 10 seconds
max_filedescriptors 1024
pinger_enable off
"""

_ICAP = """\
icap_enable on
icap_preview_enable on
icap_preview_size 1024
icap_persistent_connections on
icap_206_enable on
icap_service_failure_limit 10
adaptation_send_client_ip on
icap_service request reqmod_precache {uri} bypass=off on-overload=wait
icap_service response respmod_precache {uri} bypass=off on-overload=wait
adaptation_access request allow all
adaptation_access response allow all
"""

_DELAY_POOL = """\
delay_pools 1
delay_class 1 1
delay_access 1 allow all
delay_parameters 1 4000000/4000000
"""


def write(folder: Path, port: int, origin_ca: Path, icap: str | None, *, delay_pool: bool) -> None:
    """For redirected clients. ``icap`` is the URI of a service for requests and responses."""
    more = _TRANSPARENT.format(folder=folder) + (_ICAP.format(uri=icap) if icap else "") + (_DELAY_POOL if delay_pool else "")
    _write(folder, f"http_port 127.0.0.1:{port + 1000}\nhttps_port 0.0.0.0:{port} intercept", origin_ca, more)


def write_explicit(folder: Path, port: int, roots: Path) -> None:
    """For clients that are told of it; nothing but ssl-bump of everything, as in squid's own instructions."""
    _write(folder, f"http_port 127.0.0.1:{port}", roots, _EXPLICIT)


def _write(folder: Path, ports: str, roots: Path, more: str) -> None:
    """squid.conf and its signing CA."""
    (folder / "squid.conf").write_text(_TEXT.format(ports=ports, folder=folder, roots=roots, more=more))
    (folder / "signing.pem").write_bytes(authority())


def authority() -> bytes:
    """squid's signing CA, certificate and key: RSA 2048, as in its own instructions."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench squid CA")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=30))
    certificate = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, form, plain)
