"""Sockets to flows: listeners, peeking, the connection handler, hook dispatch, the splice lane, workers."""
