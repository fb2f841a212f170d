"""Edits that know a format: what they change is read as that format, so that reading goes deep."""
