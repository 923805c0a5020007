"""sync: a destination is compared with its source while both are walked, and only what differs is copied."""
