"""The comparison that `make bench` runs."""
