"""The server: OpenAI's API over bots whose memory of a conversation is a state."""
