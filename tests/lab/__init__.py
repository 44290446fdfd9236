"""Machines, clouds and faults for tests: see README.md in this folder."""
