"""Conversations: read from files, tokenized, and laid out for training. Independent of `bptt`."""
