"""What was written, run and compared with the reference."""
