"""Redis and Valkey: the only package that imports redis-py and knows their wire protocol."""
