"""Questions that need no compiler: what is this file, what can this machine do."""
