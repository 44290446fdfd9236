"""TOML on disk to checked, frozen values; nothing else opens configuration."""
