"""Telling a bot's unit that its secrets have changed: the daemon asks, a small root program acts."""
