"""A chat for Django Channels, in its package ``channels``, on a WSGI server."""
