"""Systems of the literature whose weights a user can have: their parts, files, and constants."""
