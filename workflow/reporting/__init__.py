"""TELLING people: observers of `workflow.events`, and renderers of answers.

Nothing is imported here, so that a console costs only what it uses.
"""
