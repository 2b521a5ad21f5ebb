"""The command line."""

from .Life import from_command_line

if __name__ == "__main__":
    from_command_line()
