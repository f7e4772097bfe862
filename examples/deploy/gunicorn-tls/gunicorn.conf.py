"""gunicorn that terminates TLS itself, without a proxy.

start:  /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
reload: kill -HUP $(cat /run/mysite/gunicorn.pid)

The packages: pip install "gunicorn[gevent]"
"""

chdir = "/srv/mysite"
wsgi_app = "wsgi:application"
bind = "0.0.0.0:443"
pidfile = "/run/mysite/gunicorn.pid"

certfile = "/etc/ssl/mysite/fullchain.pem"
keyfile = "/etc/ssl/mysite/privkey.pem"

# Or worker_class = "gthread" and threads = 8. Open websockets occupy no greenlet and no thread.
worker_class = "gevent"
workers = 2

# Seconds for plain requests to finish at a reload. Websockets are closed (1012) immediately.
graceful_timeout = 10
