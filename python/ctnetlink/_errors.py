"""Errors that have more than a text."""


class FilterSyntaxError(ValueError):
    """The text of a filter is not one.

    The text of the error names line and column, what was found there and what was expected.
    """

    position: int
    """The number of characters of the filter before the mistake."""

    def __init__(self, message: str = "", position: int = 0) -> None:
        super().__init__(message, position)
        self.position = position

    def __str__(self) -> str:
        return str(self.args[0])
