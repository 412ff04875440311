"""A module for each target: see `fuzz.target`."""
