"""Infected bodies, per tenant, encrypted: kept by the workers, released or deleted by a person, bounded in size and age."""
