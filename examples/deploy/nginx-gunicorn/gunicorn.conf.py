"""gunicorn behind nginx: two instances with this one configuration.

start:  INSTANCE=1 /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
start:  INSTANCE=2 /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
reload: kill -HUP $(cat /run/mysite/1.pid /run/mysite/2.pid)
"""

import os

instance = os.environ["INSTANCE"]
bind = f"unix:/run/mysite/{instance}.sock"
pidfile = f"/run/mysite/{instance}.pid"

chdir = "/srv/mysite"
wsgi_app = "wsgi:application"

# Websockets leave their requests and do not count among a worker's worker_connections.
worker_class = "gevent"
workers = 2

# Files and sockets are for us and for our group, by which nginx comes in: www-data on Debian.
umask = 0o007

# What nginx says in X-Forwarded-* is believed, because it comes through a Unix socket.
raw_env = ["WSREDIS_TRUSTED_PROXIES=unix"]

# Newer gunicorns listen for commands on a socket, whose one name both instances would use.
control_socket_disable = True

# Seconds that plain requests have to end at a reload. Clients are told at once (1012).
graceful_timeout = 10
