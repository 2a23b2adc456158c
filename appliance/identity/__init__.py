"""Who is asking: user groups, password hashes and authentication schemes."""
