"""The runtime: the gevent loop, blocking calls, logging from callbacks."""
