"""OpenAI's protocol: bodies, routes, replies and streams."""
