"""A SoftHSM token for tests, with keys that were made in it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1748-pin-of-the-token"

# In a process of its own: who is logged in, and what a library has read, belongs to the whole process.
_MAKE = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
module, token, pin, label, kind, extractable = sys.argv[1:]
private = {Attribute.EXTRACTABLE: extractable == "yes", Attribute.SENSITIVE: extractable != "yes"}
with pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin, rw=True) as session:
    if kind.startswith("rsa-"):
        session.generate_keypair(KeyType.RSA, int(kind[4:]), store=True, label=label, private_template=private)
    else:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(kind)}
        parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, label=label, private_template=private)
"""


@dataclass
class SoftHsm:
    """``directory`` holds the token's files, its configuration and the PIN."""

    directory: Path
    label: str = "arcus"

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")}

    @property
    def pin_file(self) -> Path:
        return self.directory / "pin"

    def create(self) -> "SoftHsm":
        tokens = self.directory / "tokens"
        tokens.mkdir(parents=True)
        (self.directory / "softhsm2.conf").write_text(
            f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.pin_file.touch(0o600)
        self.pin_file.write_text(f"{PIN}\n")
        self._run("softhsm2-util", "--init-token", "--free", "--label", self.label, "--pin", PIN, "--so-pin", "12345678")
        return self

    def key(self, label: str, kind: str = "secp256r1", *, extractable: bool = False) -> None:
        """Make a key pair: the name of a curve, or ``rsa-2048``."""
        words = [str(MODULE), self.label, PIN, label, kind, "yes" if extractable else "no"]
        self._run(sys.executable, "-c", _MAKE, *words)

    def node(self, label: str) -> dict[str, object]:
        """For a configuration."""
        return {
            "module": str(MODULE), "token": self.label, "label": label,
            "pin_file": str(self.pin_file), "environment": self.environment,
        }  # fmt: skip

    def _run(self, *command: str) -> None:
        subprocess.run(command, env=os.environ | self.environment, check=True, capture_output=True, timeout=60)
