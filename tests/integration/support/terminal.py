"""Runs a program on a terminal of its own, waits until a text is on it, then presses a key or sends a signal.

Arguments: the text, the key (or SIGTERM), the program and its arguments. Prints what was written to the terminal and
whether it was left as it was found; ends as the program did.
"""

import os
import pty
import signal
import sys
import termios

text, key, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp("sh", ["sh", "-c", 'stty rows 20 cols 140 && exec "$@"', "sh", *command])


def read() -> str:
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # everybody on the terminal has left
        return ""


seen = ""
while text not in seen and (more := read()):
    seen += more
if key == "SIGTERM":
    os.kill(child, signal.SIGTERM)
else:
    os.write(terminal, key.encode())
while more := read():
    seen += more
status = os.waitpid(child, 0)[1]
lines_are_edited = bool(termios.tcgetattr(terminal)[3] & termios.ICANON)
print(repr(seen))
print("restored" if seen.rfind("\x1b[?1049l") > seen.rfind("\x1b[?1049h") and lines_are_edited else "not restored")
sys.exit(os.waitstatus_to_exitcode(status))
