"""A face in a picture: landmarks, and the crop that the networks read."""
