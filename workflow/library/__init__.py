"""The Python library: workflows built by programs, run by the same engine, kept wherever a program likes."""
