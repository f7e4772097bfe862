"""Bridges between wsredis and web frameworks, one package each, installed as `wsredis.adapters`."""
