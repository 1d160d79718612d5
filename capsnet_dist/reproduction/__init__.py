"""Published results beside ours: recipes with their references, what their runs came to, and the page of both."""
