"""Car tasks."""
