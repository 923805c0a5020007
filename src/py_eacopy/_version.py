"""The one place where the version stands; pyproject.toml reads it from here."""

__version__ = "1.0.0.dev0"
