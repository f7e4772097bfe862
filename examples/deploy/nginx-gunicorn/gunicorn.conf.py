"""gunicorn behind nginx: two instances with the same configuration.

start:  INSTANCE=1 /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
start:  INSTANCE=2 /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
reload: kill -HUP $(cat /run/mysite/1.pid /run/mysite/2.pid)

The packages: pip install "gunicorn[gevent]"
"""

import os

instance = os.environ["INSTANCE"]
bind = f"unix:/run/mysite/{instance}.sock"
pidfile = f"/run/mysite/{instance}.pid"

chdir = "/srv/mysite"
wsgi_app = "wsgi:application"

# Open websockets do not count towards a worker's worker_connections.
worker_class = "gevent"
workers = 2

# Files and sockets are accessible to the user and the group, which nginx is in: www-data on Debian.
umask = 0o007

# nginx's X-Forwarded-* headers are trusted, because they come through a Unix socket.
raw_env = ["WSREDIS_TRUSTED_PROXIES=unix"]

# Newer versions of gunicorn have a control socket; both instances would use the same name for it.
control_socket_disable = True

# Seconds for plain requests to finish at a reload. Websockets are closed (1012) immediately.
graceful_timeout = 10
