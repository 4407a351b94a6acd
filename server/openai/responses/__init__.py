"""OpenAI's Responses API, without what it stores: a translation of chat, request and answer."""
