"""The shipper: brings the audit chains of this host to where nobody can rewrite them."""
