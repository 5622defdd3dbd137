"""Systems of the literature whose weights a user can have: their parts, their files, and the constants they mix with."""
