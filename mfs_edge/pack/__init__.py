"""Packs: what belongs to one identity, beside a base that all share."""
