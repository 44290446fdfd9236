"""The canary gate: no test's secret stays behind anywhere but where it belongs. docs/security.md says where.

`spellings` is what is looked for; `scan`, `memory` and `asking` look; `daemon` and `machine` are what is
looked at; `allowed` is where a secret may be; `planting` shows that the gate sees; `plugin` makes it part of
every test. `tests/lab/daemons.py` and `tests/lab/host.py` tell it of each daemon and machine.
"""
