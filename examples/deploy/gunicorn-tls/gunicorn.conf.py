"""gunicorn that ends TLS itself, with nothing in front of it.

start:  /srv/mysite/venv/bin/gunicorn -c /srv/mysite/gunicorn.conf.py
reload: kill -HUP $(cat /run/mysite/gunicorn.pid)
"""

chdir = "/srv/mysite"
wsgi_app = "wsgi:application"
bind = "0.0.0.0:443"
pidfile = "/run/mysite/gunicorn.pid"

certfile = "/etc/ssl/mysite/fullchain.pem"
keyfile = "/etc/ssl/mysite/privkey.pem"

# Or worker_class = "gthread" and threads = 8. Websockets leave their requests and occupy neither.
worker_class = "gevent"
workers = 2

# Seconds that plain requests have to end at a reload. Clients are told at once (1012).
graceful_timeout = 10
