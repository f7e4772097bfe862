"""The application for all servers in the README: pages, static files and websockets."""

from .app import create_app

application = create_app()
