"""Images as plain data: how a picture becomes pixels, and where pixels are kept."""
