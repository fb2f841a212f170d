"""One file per command; no logic. ``show`` prints."""
