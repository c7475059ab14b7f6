"""`python -m convert_weights` in a checkout: the command `asymtrack convert`."""
