"""The audit trail: what was asked for, by whom and what came of it, in a chain of hashes. Never a value."""
