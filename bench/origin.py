"""The origin: nginx with a CA of its own, and the bodies that are fetched from it."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.processes import Program, running
from bench.topology import Namespace

KIB = 1024
UNIQUE: Mapping[str, tuple[int, int]] = {"1k": (KIB, 2000), "40k": (40 * KIB, 1000), "100k": (100 * KIB, 300)}
"""Bodies that differ, for the scanners: size in bytes and how many. They are random, so no two are equal."""
MARKER = b"PLEASE-BLOCK-ME-7f3a"
"""The scanners' test signature finds it at any offset."""

_NGINX = """\
worker_processes 1; daemon off; user root; pid {base}/nginx.pid; error_log {base}/nginx-error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_timeout 600s; keepalive_requests 100000000; open_file_cache max=10000;
  client_body_temp_path {base}/t1; proxy_temp_path {base}/t2; fastcgi_temp_path {base}/t3;
  uwsgi_temp_path {base}/t4; scgi_temp_path {base}/t5;
  server {{
    listen 443 ssl http2 backlog=4096; ssl_certificate {base}/origin.pem; ssl_certificate_key {base}/origin.key;
    http2_max_concurrent_streams 256; root {base}/www;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    ca: Path
    nginx: Program


@contextlib.contextmanager
def origin(base: Path, gateway: Namespace, names: list[str]) -> Iterator[Origin]:
    _bodies(base / "www")
    _certificates(base, names)
    configuration = base / "nginx.conf"
    configuration.write_text(_NGINX.format(base=base))
    # -p and -e: nothing of the system's own nginx is touched
    command = ["nginx", "-p", str(base), "-e", str(base / "nginx-error.log"), "-c", str(configuration)]
    with running(gateway.enter(command), base / "nginx.log") as nginx:
        nginx.wait_until(lambda: (base / "nginx.pid").exists(), "nginx", 15)
        time.sleep(0.2)
        yield Origin(base / "ca.pem", nginx)


def _bodies(www: Path) -> None:
    www.mkdir()
    for name, size in (("1k", KIB), ("100k", 100 * KIB), ("10m", 10 * KIB * KIB)):
        (www / name).write_bytes(os.urandom(size))
    for name, (size, count) in UNIQUE.items():
        folder = www / f"u{name}"
        folder.mkdir()
        for index in range(count):
            (folder / str(index)).write_bytes(os.urandom(size))
    (www / "bad").write_bytes(os.urandom(500) + MARKER + os.urandom(500))


def _certificates(base: Path, names: list[str]) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Bench origin CA")
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = _builder(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
    leaf = _builder(_name(names[0]), ca_name, key).add_extension(x509.BasicConstraints(False, None), True)
    leaf = leaf.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(each) for name in names for each in (name, f"*.{name}")]), False
    )
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    (base / "ca.pem").write_bytes(_pem(ca.sign(ca_key, hashes.SHA256())))
    (base / "origin.pem").write_bytes(_pem(leaf.sign(ca_key, hashes.SHA256())))
    (base / "origin.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=30))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
