"""The application that any server of the README loads: pages, static files and websockets."""

from .app import create_app

application = create_app()
