"""Where records go: the journal, S3, CloudWatch Logs. Each is a `Sink`; see interface.py."""
