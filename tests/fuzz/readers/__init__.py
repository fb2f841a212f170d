"""The harnesses: every reader of files that a user may bring, a file per family."""
