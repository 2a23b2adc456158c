"""The appliance's own pages for its clients, on a fixed name: content only, without sockets, keys or mitmproxy."""
