"""Pages and REST of the admin listener. Reads the audit store and what the processes say; never touches the traffic path."""
