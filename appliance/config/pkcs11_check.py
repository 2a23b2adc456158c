"""What a model cannot tell of ``ca[].pkcs11``: its files, and what does not go together."""

from pathlib import Path as File

from appliance.config.ca import Ca
from appliance.config.document import Path
from appliance.config.pkcs11 import Pkcs11
from appliance.config.view import View


def check_pkcs11(view: View) -> None:
    for path, ca in view.each("ca"):
        if ca.pkcs11 is not None:
            _apart(view, path, ca)
            _files(view, (*path, "pkcs11"), ca.pkcs11)
            if ca.certificate is not None and (problem := _unreadable(ca.certificate)):
                view.error((*path, "certificate"), f"{ca.certificate}: {problem}")


def _apart(view: View, path: Path, ca: Ca) -> None:
    if ca.private_key is not None:
        view.error((*path, "private_key"), "the key is in the token: leave private_key or pkcs11 out")
    if ca.signer == "in_process":
        view.error((*path, "signer"), "only the signer process opens a token: leave signer out, or pkcs11")


def _files(view: View, path: Path, node: Pkcs11) -> None:
    if problem := _unreadable(node.module):
        view.error((*path, "module"), f"{node.module}: {problem}")
    if problem := _unreadable(node.pin_file) or _exposed(node.pin_file):
        view.error((*path, "pin_file"), f"{node.pin_file}: {problem}")


def _unreadable(file: File) -> str:
    try:
        with file.open("rb") as stream:
            return "" if stream.read(1) else "is empty"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _exposed(file: File) -> str:
    return "other users can read it: chmod 600" if file.stat().st_mode & 0o077 else ""
