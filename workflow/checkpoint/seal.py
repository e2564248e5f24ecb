"""Programs that shells read, with a last line by which Python and a shell can tell that they are whole."""

from __future__ import annotations

from workflow.checkpoint.marker import posix_cksum


def sealed(program: bytes) -> bytes:
    """Return a program with its seal: a comment that holds the POSIX cksum of all before it."""
    return b"%s# %s\n" % (program, posix_cksum(program).encode("ascii"))


def why_broken(path: str) -> str:
    """Return what is wrong with a sealed program; empty when it is whole."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    program = data[: data.rfind(b"\n", 0, -1) + 1]
    return "" if data == sealed(program) else "it is not what was written"
