"""User groups for the tests of this package. Hashes are as cheap as argon2id allows."""

import hashlib
from typing import Any

from argon2 import PasswordHasher

from appliance.config.users import UserGroup

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def user(name: str, password: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "password_hash": CHEAP.hash(password), **fields}


def token_user(name: str, password: str, salt: str = "tenant-a-salt", **fields: Any) -> dict[str, Any]:
    return {"name": name, "token": {"salt": salt, "sha1": hashlib.sha1((salt + password).encode()).hexdigest()}, **fields}


def group(*users: dict[str, Any], name: str = "staff", **fields: Any) -> UserGroup:
    return UserGroup(name=name, static_users=list(users), **fields)
