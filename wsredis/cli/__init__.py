"""The ``wsredis`` command."""
