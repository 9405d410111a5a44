"""A bot's forward pass on plain arrays, without torch: it talks, reads and scores, never learns.

weights.py     a bot's folder as arrays that fit its configuration
decoder.py     the contract of generate/, over one operation: read the tokens of some rows
reference.py   that operation in numpy, to be read; its parts: layers.py, pointer.py, counts.py
compiled.py    the same in one call of the compiled library
"""
