"""Where code runs: the gevent loop, calls that block, logging from callbacks."""
