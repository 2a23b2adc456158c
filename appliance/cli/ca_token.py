"""The next CA of one whose key is in a token: another key in it, and the certificate that it signs for itself."""

from appliance.app.parts import token_site
from appliance.app.paths import StatePaths
from appliance.cli.output import CliError
from appliance.config.ca import Ca
from appliance.config.pkcs11 import Pkcs11
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from certs import nursery, token_authority
from certs.generations import Generation, Generations
from certs.tokens import Tokens


def install_next(config: AppConfig, ca: Ca, node: Pkcs11, label: str, seed: nursery.Seed) -> None:
    """Raises CliError for the key that signs now, AuthorityError when the other cannot be used, OSError."""
    paths = StatePaths(config.state_dir)
    place, current = Generations(paths.ca, ca.name), token_site(ca, node, paths)
    if label == current.label:
        raise CliError(f"the key {label!r} is the one that signs now", "a next CA has a key of its own")
    tokens = Tokens()
    try:
        certificate = token_authority.certify(tokens, current.labelled(label), seed, SystemClock())
    finally:
        tokens.close()
    # from now on the configuration's label says nothing about which of them has which key
    place.remember_label(Generation.CURRENT, current.label)
    place.install(Generation.NEXT, certificate, b"", label)
