"""How a reply comes to be: read, draw, rank, or find what somebody said before."""
