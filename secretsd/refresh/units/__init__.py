"""Telling units that their bundle has changed, one delivery at a time."""
