"""From a picture, a video or a camera to the same with faces swapped: find, align, run, paste, and say so."""
