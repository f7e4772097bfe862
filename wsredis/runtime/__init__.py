"""The runtime: the gevent loop, blocking calls, logging from callbacks."""

try:
    import gevent as gevent
except ImportError as exc:
    if "nterpreter" not in str(exc):
        raise
    raise ImportError(
        "gevent can be loaded into one interpreter of a process only: for several applications in"
        " one uWSGI, add --single-interpreter (single-interpreter = true)."
    ) from exc
