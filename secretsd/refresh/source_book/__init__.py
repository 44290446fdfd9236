"""What the conductor knows of its sources: whom to ask, how they have done, what was asked."""
