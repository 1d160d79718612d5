"""What a trained network still gets right when its images are changed, and when somebody wants it to fail."""
