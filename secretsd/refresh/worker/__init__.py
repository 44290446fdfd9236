"""What a worker does. It alone sees values, and dies; nothing here is loaded by the conductor."""
