"""The source `vault`: OpenBao and HashiCorp Vault, through hvac."""
