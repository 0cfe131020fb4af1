"""Make Starlake's Java virtual machine start faster, without changes to Starlake.

``settings`` has the fields of the executor, ``probe`` finds out which Java a launcher starts, ``archives`` keeps archives of classes,
``making`` makes them by running the ``sample_project``, and ``start`` puts together the environment of a command. Java gets its options in
``JDK_JAVA_OPTIONS``, which the ``java`` launcher has read since JDK 9.
"""
