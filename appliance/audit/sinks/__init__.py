"""Where events go from the spool."""
