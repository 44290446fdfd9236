"""The last known good bundle, sealed on the disk, for a boot while the source is out.

What is sealed is what the sources gave, not the files: it then goes the ordinary way through today's rules,
formats and owners. A worker seals and opens; the conductor reads headers alone, which hold no value.
"""
