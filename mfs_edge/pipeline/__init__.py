"""The data flow of each job, top to bottom."""
