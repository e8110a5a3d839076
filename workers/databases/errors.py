"""What goes wrong with users' databases before and beside their statements."""


class UserDatabaseUnavailable(Exception):
    """A database of @database cannot be reached or gave no answer in time; the message names it
    and says why, without passwords."""


class UnknownDatabase(Exception):
    """No @database has this name, or it is not open in this process."""


MISSING_PACKAGES = (
    "needs packages that are not installed: pip install -r requirements-databases.txt"
)
