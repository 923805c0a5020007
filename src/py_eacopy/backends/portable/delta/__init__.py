"""Deltas: making a file out of an older version of it, and the files that hold nothing but the difference."""
