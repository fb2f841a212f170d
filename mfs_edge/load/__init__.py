"""Bytes in, validated arrays out: checkpoints and identities."""
