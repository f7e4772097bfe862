"""A chat in Bottle, with Beaker sessions."""
