"""Unusual access: a first use of a key or a secret, too many uses, too many refusals, a search for names."""
