"""Elman turns conversations into a small, private chatbot: a recurrent network trained by
backpropagation through time.
"""

__version__ = "0.1.0"
