"""Whether the numbers of an attack can be believed."""
