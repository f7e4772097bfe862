"""A chat with consumers of wsredis in Django, on a WSGI server."""
