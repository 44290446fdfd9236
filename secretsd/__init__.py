"""secretsd: the systemd-native secrets daemon for trading hosts."""

__version__ = "0.1.0"
