"""Downloads that their clients wait for on a page: tickets, progress, what is held until it is fetched."""
