"""Exclusions from experience, in the admin process: evidence from the audit stream, a verdict by rules, who decided."""
