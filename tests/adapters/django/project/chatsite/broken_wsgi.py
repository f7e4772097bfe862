"""A wsgi.py that works on the server only."""

raise KeyError("a variable of the server")
