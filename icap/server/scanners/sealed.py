"""Bodies as files in memory that nobody can change any more, to be handed to another process."""

import fcntl
import os

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(body: bytes) -> int:
    """A file descriptor of ``body``, sealed (memfd_create(2)): whoever has it can read it, and no more. It is the caller's to
    close. Raises OSError."""
    descriptor = os.memfd_create("body", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        written = os.write(descriptor, body)
        while written < len(body):
            written += os.write(descriptor, memoryview(body)[written:])
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
