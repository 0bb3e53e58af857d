"""A recorded run as one page: read from its bag, put in words, drawn."""
