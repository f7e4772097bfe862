"""A chat in Falcon, with JSON Web Tokens."""
