"""Starlake's Java virtual machine: what makes it start in less time, with nothing in Starlake changed.

``settings`` is what people write, ``probe`` finds out which Java a launcher starts, ``archives`` keeps archives of classes, ``making``
makes them, ``sample_project`` is what runs meanwhile, and ``start`` puts together the environment of a command. All of it goes through
``JDK_JAVA_OPTIONS``, which the ``java`` launcher has read since JDK 9.
"""
