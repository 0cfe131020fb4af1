"""The variable that passes options to a JVM, and the options that the user has set in it."""

import re
from collections.abc import Iterable, Mapping, Sequence

VARIABLE = "JDK_JAVA_OPTIONS"
"""Read by the ``java`` launcher since JDK 9."""

FAST_COMPILER = "-XX:TieredStopAtLevel=1"
FAST_COLLECTOR = "-XX:+UseSerialGC"

_USER_VARIABLES = (
    VARIABLE,
    "JAVA_OPTS",
    "SPARK_DRIVER_OPTIONS",
    "SPARK_CONF_OPTIONS",
    "SPARK_SUBMIT_OPTS",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
)
_ARCHIVES = re.compile(r"-Xshare|SharedArchiveFile|ArchiveClassesAtExit|AutoCreateSharedArchive|-XX:AOT|-XX:Flags=|-XX:VMOptionsFile")
_COLLECTORS = re.compile(r"-XX:[+-]Use\w+GC\b|-XX:Flags=|-XX:VMOptionsFile")
_COMPILERS = re.compile(r"TieredStopAtLevel|TieredCompilation|-Xint\b|-Xcomp\b|-XX:[+-]Use(?:JVMCI|Graal)|-XX:Flags=|-XX:VMOptionsFile")

_WORDS = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_FILES_AND_PORTS = re.compile(
    r"""["']*-(?:Xlog|Xloggc|XX:LogFile|XX:StartFlightRecording|agentlib:jdwp|Xrunjdwp|Dcom\.sun\.management\.jmxremote)\b"""
)


def collect_user_options(environment: Mapping[str, str], arguments: str = "") -> str:
    """Return all options except those that this package adds, as one string.

    ``arguments`` are those with which Java was started, including those of the launcher.
    """
    return " ".join([*(environment.get(name, "") for name in _USER_VARIABLES), arguments])


def drop_files_and_ports(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's options that write log files, record, or listen on a port.

    A JVM that runs at the same time as a command would overwrite the command's log file, or take the port of its debugger.
    """
    kept = dict(environment)
    for name in _USER_VARIABLES:
        if name in kept:
            kept[name] = " ".join(word for word in _WORDS.findall(kept[name]) if not _FILES_AND_PORTS.match(word))
    return kept


def allows_archive(user_options: str) -> bool:
    """Return whether the user's options leave class data archives and ahead-of-time caches unset."""
    return _ARCHIVES.search(user_options) is None


def choose_fast_options(user_options: str) -> Iterable[str]:
    """Yield the options of the fast compiler and garbage collector that do not conflict with the user's options.

    Java does not start with two garbage collectors.
    """
    if not _COMPILERS.search(user_options):
        yield FAST_COMPILER
    if not _COLLECTORS.search(user_options):
        yield FAST_COLLECTOR


def join_options(before: str, options: Sequence[str]) -> str:
    """Return the value of the variable: the existing value, then the options, quoted if they contain spaces."""
    return " ".join(filter(None, [before.strip(), *(f'"{option}"' if re.search(r"\s", option) else option for option in options)]))
