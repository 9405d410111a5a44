"""The compiled library and what finds it. It needs neither numpy nor torch."""
