"""What `make demo` shows: the main job with a local AWS, on a real systemd where one can be booted."""
