"""Speed and memory, measured against other frameworks and the machine."""
