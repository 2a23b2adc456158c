"""One file with the CAs of an appliance, keys included, that is worth nothing without its passphrase.

    "ARCUS-CA-BACKUP" | version 1 | log2 N | r | p | salt 16 | nonce 12 | AES-256-GCM(JSON)
          15               u8        u8     u8  u8

The key comes from the passphrase by scrypt (RFC 7914) and everything before the ciphertext is authenticated with it,
so a header that was changed opens nothing. The JSON holds PEM texts by CA and generation, and no paths. Of a CA whose key is in
a token it says which key in which token, and has no key.
"""

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from appliance.domain.errors import ArcusError
from certs.generations import Generation

MAGIC = b"ARCUS-CA-BACKUP"
VERSION = 1
COST = 17
"""log2 N: 128 MB and some 0.4 s for each guess at the passphrase."""
COSTS = range(14, 21)
"""What is accepted when reading: more than 1 GB would be an attack on us, less than 16 MB on the passphrase."""
BLOCK, PARALLEL = 8, 1
SALT, NONCE = 16, 12
HEADER = len(MAGIC) + 4 + SALT + NONCE
MIN_PASSPHRASE = 12
MAX_BYTES = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class BackupError(ArcusError):
    """A backup that cannot be made or opened."""


@dataclass(frozen=True, slots=True)
class SavedCa:
    """A CA as it is on disk: PEM texts. ``revoked`` is its list of revoked leaves as it stands, or empty.

    ``token`` and ``label`` say where the key is when ``key`` is empty.
    """

    name: str
    generation: str
    certificates: str
    key: str
    revoked: str = ""
    token: str = ""
    label: str = ""


def seal(cas: Iterable[SavedCa], passphrase: str, made: float) -> bytes:
    """The backup. ``made``: seconds since the epoch. Raises BackupError for a passphrase that protects nothing."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise BackupError(f"a passphrase has {MIN_PASSPHRASE} characters or more")
    document = {"made": int(made), "cas": [{name: text for name, text in asdict(ca).items() if text} for ca in cas]}
    salt, nonce = secrets.token_bytes(SALT), secrets.token_bytes(NONCE)
    header = MAGIC + bytes((VERSION, COST, BLOCK, PARALLEL)) + salt + nonce
    return header + AESGCM(_key(passphrase, salt, COST)).encrypt(nonce, json.dumps(document).encode(), header)


def unseal(data: bytes, passphrase: str) -> list[SavedCa]:
    """What is in a backup. Raises BackupError: not a backup, changed since, or another passphrase."""
    if len(data) > MAX_BYTES or not data.startswith(MAGIC) or len(data) < HEADER + 16:
        raise BackupError("this is no backup of CAs, or not all of it")
    version, cost, block, parallel = data[len(MAGIC) : len(MAGIC) + 4]
    if version != VERSION:
        raise BackupError(f"this backup has the form {version}; this Arcus reads {VERSION}")
    if cost not in COSTS or (block, parallel) != (BLOCK, PARALLEL):
        raise BackupError("this is no backup of CAs: its header asks for a key that none of ours has")
    header, salt, nonce = data[:HEADER], data[HEADER - NONCE - SALT : HEADER - NONCE], data[HEADER - NONCE : HEADER]
    try:
        text = AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, data[HEADER:], header)
    except InvalidTag:
        raise BackupError("the passphrase is wrong, or the file was changed") from None
    return _read(text)


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, 32, 1 << cost, BLOCK, PARALLEL).derive(passphrase.encode())


def _read(text: bytes) -> list[SavedCa]:
    """Whoever knows the passphrase is trusted with much, but not with paths. Raises BackupError."""
    try:
        cas = [SavedCa(**({"key": ""} | each)) for each in json.loads(text)["cas"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError("the backup opens, but does not hold what it should") from error
    for ca in cas:
        if not all(isinstance(each, str) for each in asdict(ca).values()) or not _NAME.match(ca.name):
            raise BackupError("the backup holds a CA without a proper name")
        if bool(ca.key) is bool(ca.token):
            raise BackupError("the backup holds a CA with two keys, or none")
        if ca.generation not in list(Generation):
            raise BackupError(f"the backup holds a generation that is none: {ca.generation[:20]!r}")
    return cas
