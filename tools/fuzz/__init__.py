"""Spoils every kind of file that people give: nothing may end in a traceback, hang, or be taken for what it is not."""
