"""What a hostile client, or a hostile server, has tried."""
