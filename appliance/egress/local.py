"""Whether an address is one of this machine's own."""

import socket

from appliance.domain.target import IPAddress


def is_local(address: IPAddress) -> bool:
    """Ask the kernel's routing table, so that an address added a second ago counts.

    A UDP socket that is connected (which sends nothing) to a local address takes that very address as its source.
    Loopback is the exception: all of 127.0.0.0/8 is local, with 127.0.0.1 as its source.
    """
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0]) == str(address)
        except OSError:  # no route, or a broadcast address: not ours
            return False
