"""undrift: controllers that keep learning after deployment."""

__version__ = "0.1.0"
