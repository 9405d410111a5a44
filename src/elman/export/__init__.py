"""A bot leaves home: as one page that needs no network, and in formats that others load."""
