"""The signer as a process of its own: what goes over its socket, both ends, and what it remembers."""
