"""The ground that everything stands on: errors, files, pictures, progress. It imports nothing of mfs-edge."""
