"""The ways to compute the loss, and how their arithmetic is carried out."""
