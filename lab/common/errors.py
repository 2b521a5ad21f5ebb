"""What can go wrong with a lab."""


class LabError(Exception):
    """The lab cannot do what was asked; the text tells an operator what was found and what to do."""
