"""Checks that the steps of this project call; each prints every problem it finds and exits 1 when there is one."""
