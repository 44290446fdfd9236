"""What secretsctl's completion is in each shell, made from the command line's values."""
