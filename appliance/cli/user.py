"""`arcus user`"""

import getpass
import sys

from appliance.cli.output import CliError, examples, group

app = group("user", "Users of the proxy.")

MAX_PASSWORD = 1024


@app.command("hash", epilog=examples("arcus user hash", 'printf %s "$PASSWORD" | arcus user hash'))
def hash_password() -> None:
    """Read a password and print its argon2id hash, for password_hash of a static user.

    From standard input, or asked for, without an echo, at a terminal. It is never an argument: others could see it in
    the list of processes.
    """
    from appliance.identity.hashes import make

    print(make(_read()))


def _read() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            raise CliError("the two are not the same", "try again")
    else:
        password = sys.stdin.readline(MAX_PASSWORD + 2).removesuffix("\n").removesuffix("\r")
    if not password:
        raise CliError("no password was given", "give one line on standard input")
    if len(password) > MAX_PASSWORD:
        raise CliError(f"longer than {MAX_PASSWORD} characters")
    return password
