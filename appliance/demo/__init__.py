"""Something to try the appliance on: a small web server, and a client that sends it a mix of requests."""
