"""The one place where the version stands; setup.cfg reads it from here."""

VERSION = "0.1.0"
