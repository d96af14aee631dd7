"""Effects: observing, executing, progress, settings."""
