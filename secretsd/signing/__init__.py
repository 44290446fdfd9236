"""The signing service: keys on a PKCS#11 token, used over local sockets by who may, and never handed out."""
