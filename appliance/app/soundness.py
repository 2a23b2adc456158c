"""What only the parts themselves can tell of a configuration: CAs that must not sign, URLs that nobody may be sent to."""

from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ConfigError, Problem
from appliance.explain import Explainer
from certs.authority import load_or_create, load_public


def examine(config: AppConfig) -> None:
    """Build what can be built without sockets and without a token, and let go of it.

    Raises:
        ConfigError: with everything that cannot be used.
    """
    problems: list[Problem] = []
    for ca in config.ca:
        try:
            _certificate(config, ca)
        except ConfigError as error:
            problems += error.problems
    try:
        Explainer(config).close()
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)


def _certificate(config: AppConfig, ca: Ca) -> None:
    if ca.certificate is None:
        return
    if ca.pkcs11 is not None:  # the token is not opened: a check must not cost one of the tries of a PIN
        load_public(ca.name, ca.certificate, SystemClock())
        return
    load_or_create(config.state_dir, ca.name, ca.common_name, certificate=ca.certificate, private_key=ca.private_key)
