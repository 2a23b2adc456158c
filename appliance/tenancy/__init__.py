"""Which tenant a connection belongs to, what that tenant is, and how much of the process it may hold."""
