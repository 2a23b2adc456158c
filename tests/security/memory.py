"""The memory of running processes, searched as root would."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_PIECE = 16 * 1024 * 1024
_OVERLAP = 4096


def forms(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, bytes]:
    """How a private key may lie about: as text, as DER, and its secret numbers both ways round (a library's are in words)."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    found = {"PEM": pem.splitlines()[2], "DER": der[-120:] if isinstance(key, rsa.RSAPrivateKey) else der[:67]}
    for name, number in _secrets(key).items():
        raw = number.to_bytes((number.bit_length() + 7) // 8)
        found |= {f"{name} big-endian": raw[:32], f"{name} little-endian": raw[::-1][:32]}
    return found


def _secrets(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, int]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"scalar": key.private_numbers().private_value}
    numbers = key.private_numbers()
    return {"d": numbers.d, "p": numbers.p, "q": numbers.q}


def held(pid: int, needles: Mapping[str, bytes]) -> set[str]:
    """Which of the needles are in the memory of a process."""
    return {name for piece in _pieces(pid) for name, needle in needles.items() if needle in piece}


def _pieces(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            (
                place,
                rights,
                *_,
            ) = line.split(maxsplit=5)
            start, end = (int(each, 16) for each in place.split("-"))
            if "r" not in rights or "[vvar" in line or "[vsyscall" in line:
                continue
            for at in range(start, end, _PIECE):
                memory.seek(at)
                try:
                    yield memory.read(min(_PIECE + _OVERLAP, end - at))
                except OSError:  # a mapping of a device, or gone meanwhile
                    break


def in_files(root: Path, needles: Mapping[str, bytes], leave_out: Path) -> dict[Path, set[str]]:
    """Files below ``root`` that hold any of the needles, but for what is under ``leave_out``."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and leave_out not in path.parents:
            data = path.read_bytes()
            names = {name for name, needle in needles.items() if needle in data}
            if names:
                found[path] = names
    return found
