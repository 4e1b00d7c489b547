"""Pages of this repository, and the studies behind their numbers."""
