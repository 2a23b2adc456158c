"""The units of bodies without an end: events, lines, parts, messages of gRPC; each is held until its end, up to a limit."""
