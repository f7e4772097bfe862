"""Build the optional loop in C. Everything else about the distribution is in setup.cfg."""

from setuptools import Extension, setup

# Optional: where there is no compiler, the loop in wsredis/hub/fanout.py is used.
setup(ext_modules=[Extension("wsredis.hub._fanout", ["wsredis/hub/_fanout.c"], optional=True)])
