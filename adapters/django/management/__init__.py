"""What ``manage.py`` has to offer."""
