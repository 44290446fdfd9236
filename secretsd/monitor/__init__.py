"""What monitors ask of a daemon: metrics, and whether it is alive and ready."""
