"""The ``elbert`` command, one file per subcommand.

A file says what a command is called and asks for; the work is done in the libraries.
"""
