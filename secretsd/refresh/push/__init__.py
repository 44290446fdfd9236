"""The conductor's side of the push: listeners, their hints, and what these mean for the schedule."""
