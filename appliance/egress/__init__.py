"""Ways out: escapers choose a path, the dialer connects along it, the guard judges the address it ends at."""
