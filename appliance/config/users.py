"""Users: the ``user_group`` list."""

import re
from datetime import datetime

from pydantic import SecretStr, field_validator, model_validator

from appliance.config.values import Domain, Name, Network, Node, Port, Seconds


class HostFilterSet(Node):
    """Allowed destinations: nothing else may be reached."""

    exact: list[Domain] = []
    """Hosts."""
    child: list[Domain] = []
    """Domains, with everything below them."""


class Token(Node):
    """A salted SHA-1 hash, for import only; `arcus user hash` makes a stronger one."""

    salt: str
    """What precedes the password in the hash."""
    sha1: SecretStr
    """The hash, in hex."""


class BlockConfig(Node):
    """How a blocked user is treated."""

    delay: Seconds = 0.0
    """How long the refusal is held back."""
    until: datetime | None = None
    """The block ends then; without it, never."""


class StaticUser(Node):
    """A user who stands in the configuration."""

    name: str
    """1 to 255 characters, no ``:`` (RFC 7617)."""
    password_hash: SecretStr | None = None
    """An argon2id PHC string, as `arcus user hash` prints it."""
    token: Token | None = None
    """An imported hash, instead of ``password_hash``."""
    dst_port_filter: list[Port] | None = None
    """Destination ports the user may reach; absent: all."""
    dst_host_filter_set: HostFilterSet | None = None
    """Destination hosts the user may reach; absent: all."""
    source_ip_filter: list[Network] | None = None
    """Networks the user may come from; absent: all."""
    blocked: bool = False
    """Refuse this user."""
    block_config: BlockConfig = BlockConfig()
    """How."""

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[^\x00-\x1f\x7f:]{1,255}", value):
            raise ValueError("a user name has 1 to 255 characters, without ':' and control characters (RFC 7617)")
        return value

    @model_validator(mode="after")
    def _one_secret(self) -> "StaticUser":
        if (self.password_hash is None) == (self.token is None):
            raise ValueError("give exactly one of password_hash and token")
        return self


class UserGroup(Node):
    """Users and how they prove who they are. Tenants and servers name one."""

    name: Name
    """What tenants and servers refer to it by."""
    static_users: list[StaticUser] = []
    """The users."""
    anonymous: bool = False
    """Requests without credentials pass as nobody; wrong credentials never do."""
    cache_ttl: Seconds = 300.0
    """How long a verified password is remembered (as a keyed hash, in memory)."""
    realm: str = "Arcus"
    """Shown by clients when they ask for the password."""
