"""Side-by-side measurements: the appliance, stock mitmdump and squid on one machine, over the same network."""
