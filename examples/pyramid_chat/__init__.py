"""A chat in Pyramid, with one-time tickets."""
