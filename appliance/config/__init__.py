"""The configuration: one YAML vocabulary, its models, and everything that can be told about a file before it is used."""
