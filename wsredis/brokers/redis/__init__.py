"""The broker for Redis and Valkey: the only package that uses redis-py and their protocol."""
