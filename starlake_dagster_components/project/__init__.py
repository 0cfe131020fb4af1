"""Read the Starlake project in a folder into a frozen, typed :class:`~.model.Project`."""
