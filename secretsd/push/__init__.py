"""Hearing of a new version through a queue of SQS: a process of its own that never sees a secret."""
