"""C that reads an identity: any graph of a few operators (``operators.py``), as a table of stages over one arena."""
