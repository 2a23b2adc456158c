"""What a model cannot tell of ``redis``: files, and a way that others can listen on."""

import ssl
from pathlib import Path

from appliance.config.redis import Redis, read_password
from appliance.config.view import View
from appliance.domain.target import parse_ip


def check_redis(view: View) -> None:
    redis = view.config.redis
    if redis is None:
        return
    if redis.password_file is not None and (problem := _secret_problem(redis.password_file)):
        view.error(("redis", "password_file"), f"{redis.password_file}: {problem}")
    if redis.ca_file is not None and (problem := _roots_problem(redis.ca_file)):
        view.error(("redis", "ca_file"), f"{redis.ca_file}: {problem}")
    if redis.ca_file is not None and not redis.url.startswith("rediss:"):
        view.error(("redis", "ca_file"), "only rediss:// is TLS: change the url, or leave ca_file out")
    if not _local(redis) and redis.url.startswith("redis:"):
        view.warn(("redis", "url"), "without TLS, anybody on the way can empty and fill the cache: use rediss://")


def _local(redis: Redis) -> bool:
    address = redis.address
    ip = parse_ip(address.host) if address else None
    return address is None or address.host == "localhost" or (ip is not None and ip.is_loopback)


def _secret_problem(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            return "other users can read it: chmod 600"
        return "" if read_password(file) else "its first line is empty"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _roots_problem(file: Path) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return "holds no certificate in PEM form"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""
