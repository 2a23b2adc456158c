"""A CA with what it publishes in a folder, one leaf of it, and `openssl` as the client that asks."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import Clock, SystemClock
from certs import revoked
from certs.authority import Authority
from certs.leaf import sign_leaf
from certs.mint import new_ecdsa_key, random_serial
from certs.profile import LeafProfile
from certs.publication import FOLDER, Publication, identity, publication
from certs.revocation_answers import HttpAnswer, RevocationAnswers
from certs.revocation_folder import RevocationFolder, refresh
from certs.revoked import Revoked


@dataclass
class RevocationStage:
    folder: Path
    authority: Authority
    clock: Clock

    def __post_init__(self) -> None:
        self.root = self.folder / "pki"
        self.answers = RevocationAnswers(self.root, self.clock)
        refresh(self.root, self.authority, self.clock)
        self.ca = self.folder / "ca.pem"
        self.ca.write_bytes(self.authority.certificate.public_bytes(Encoding.PEM))
        self.leaf = self.sign()
        self.leaf_file = self.folder / "leaf.pem"
        self.leaf_file.write_bytes(self.leaf.public_bytes(Encoding.PEM))

    @property
    def published(self) -> RevocationFolder:
        return RevocationFolder.of(self.root, self.authority.fingerprint)

    def addresses(self, base: str = "http://pki.test") -> Publication:
        return publication(base, self.authority.fingerprint)

    def sign(self, base: str = "http://pki.test") -> x509.Certificate:
        profile = LeafProfile.for_host("www.origin.test")
        key, serial = new_ecdsa_key(), random_serial()
        return sign_leaf(self.authority, profile, key, self.clock, serial, publication=self.addresses(base))

    def revoke(self, serial: int | None = None, reason: str = "key_compromise") -> bool:
        entry = Revoked(self.leaf.serial_number if serial is None else serial, int(self.clock.now()), reason)
        return revoked.add(self.published.revoked, entry)

    def refresh(self) -> bool:
        return refresh(self.root, self.authority, self.clock)

    def ask(self, method: str, rest: str, body: bytes = b"") -> HttpAnswer:
        return self.answers.answer(method, f"{FOLDER}{identity(self.authority.fingerprint)}/{rest}", body)

    def openssl(self, *words: object) -> str:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, timeout=30, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    def request(self, *options: str) -> bytes:
        file = self.folder / "request.der"
        self.openssl("ocsp", "-issuer", self.ca, *options, "-cert", self.leaf_file, "-reqout", file)
        return file.read_bytes()

    def judged(self, response: bytes, *options: str) -> str:
        """What openssl makes of a response to the request before."""
        file = self.folder / "response.der"
        file.write_bytes(response)
        common = ("-issuer", self.ca, "-respin", file, "-CAfile", self.ca)
        # with a certificate openssl makes a request of its own, with a nonce of its own
        nonce = self.openssl("ocsp", *common, "-reqin", self.folder / "request.der") if "-nonce" in options else ""
        algorithm = ("-sha256",) if "-sha256" in options else ()
        return nonce + self.openssl("ocsp", *common, "-no_nonce", *algorithm, "-cert", self.leaf_file)


def stage(folder: Path, authority: Authority, clock: Clock | None = None) -> RevocationStage:
    return RevocationStage(folder, authority, clock or SystemClock())
