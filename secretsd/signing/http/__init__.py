"""The socket that speaks HTTP/1.1 with the paths and the JSON of OpenBao's and Vault's Transit."""
