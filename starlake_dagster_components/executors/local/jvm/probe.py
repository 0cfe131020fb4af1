"""Find out which Java virtual machine a launcher starts, and with which class path, from one of the commands that run anyway.

The JVM writes its performance counters to a file when it ends (HotSpot: ``-XX:+PerfDataSaveToFile``, since JDK 5). They contain its home,
version, class path, and arguments. So the launcher can be of any kind: a script, ``spark-submit``, or a custom wrapper.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ....project.word_sets import split_words
from ....trusted_files import read_trusted, write_whole

_OPTIONS = (
    "-XX:+UsePerfData",
    "-XX:+PerfDataSaveToFile",
    # The class path of Spark is longer than 1,024 characters, the default limit of counters.
    "-XX:PerfMaxStringConstLength=32768",
    "-XX:PerfDataMemorySize=1048576",
)
_HELPERS = ("org.apache.spark.launcher.Main",)
"""Classes that a launcher runs before Starlake to build its command line."""
_RELEVANT_VARIABLES = sorted(
    split_words("""
    JAVA_HOME JDK_JAVA_OPTIONS JAVA_OPTS JAVA_TOOL_OPTIONS _JAVA_OPTIONS CLASSPATH SPARK_HOME SPARK_CONF_DIR SPARK_DRIVER_OPTIONS
    SPARK_CONF_OPTIONS SPARK_SUBMIT_OPTS SPARK_EXTRA_PACKAGES SPARK_MASTER_URL SL_RUN_MODE SL_DEBUG
""")
)
"""Variables besides the PATH that decide which Java is started, and how. Starlake: distrib/starlake.sh; Spark: bin/spark-class."""
_EMPTY_FOR = 86_400.0
"""Seconds until a launcher that started no Java is probed again."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java virtual machine as a launcher starts it.

    Attributes:
        home: its folder; empty if the launcher started no Java, or one that does not report its home.
        version: the version of the virtual machine: ``17.0.15+6``.
        class_path: the class path with which it was started, with wildcards resolved.
        arguments: its options, including those of ``JDK_JAVA_OPTIONS``.
        files: a checksum of the sizes and modification times of all entries of the class path.
        found: when it was found, in seconds since 1970.
    """

    home: str = ""
    version: str = ""
    class_path: str = ""
    arguments: str = ""
    files: str = ""
    found: float = 0.0

    @property
    def feature_version(self) -> int:
        """The first number of the version: 17; 0 if it is not known."""
        match = re.match(r"(?:1\.)?(\d+)", self.version)
        return int(match[1]) if match else 0

    @property
    def holds(self) -> bool:
        """True if the Java and the files on its class path are unchanged."""
        if not self.home:
            return time.time() - self.found < _EMPTY_FOR
        return os.path.exists(self.home) and self.files == compute_checksum(self.class_path)


def compute_checksum(class_path: str) -> str:
    """Return a checksum of the sizes and times of the entries of a class path."""
    found = hashlib.sha256()
    for entry in class_path.split(os.pathsep):
        try:
            status = os.stat(entry)
            found.update(f"{entry}\0{status.st_size}\0{int(status.st_mtime)}\n".encode(errors="surrogateescape"))
        except OSError:
            found.update(f"{entry}\0\n".encode(errors="surrogateescape"))
    return found.hexdigest()[:32]


class Probes:
    """A folder that stores which Java each launcher starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, program: str, environment: Mapping[str, str]) -> Java | None:
        """Return the Java of a launcher in an environment; None if it is not known, or out of date."""
        text = read_trusted(self._find_file(program, environment))
        try:
            java = Java(**json.loads(text)) if text is not None else None
        except (ValueError, TypeError):
            return None
        return java if java is not None and java.holds else None

    def keep(self, program: str, environment: Mapping[str, str], java: Java) -> None:
        """Store the Java of a launcher. If the folder cannot be written, nothing is stored."""
        with contextlib.suppress(OSError):
            write_whole(self._find_file(program, environment), json.dumps(asdict(java)).encode())

    def _find_file(self, program: str, environment: Mapping[str, str]) -> Path:
        try:
            status = os.stat(program)
            # Images round times to seconds.
            state = f"{status.st_size}\0{int(status.st_mtime)}"
        except OSError:
            state = ""
        java = os.path.realpath(shutil.which("java", path=environment.get("PATH")) or "")
        parts = [os.path.realpath(program), state, java, *(f"{name}={environment.get(name, '')}" for name in _RELEVANT_VARIABLES)]
        name = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]
        return self._folder / f"java-{name}.json"


class Probe:
    """Observes the Java that one command starts."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="starlake-java-")

    @property
    def options(self) -> Sequence[str]:
        """The options with which the JVM must be started."""
        return (*_OPTIONS, f"-XX:PerfDataSaveFile={self._folder.name}/%p.perf")

    def close(self) -> Java:
        """Delete the probe's folder and return the Java installation that ran Starlake; its ``home`` is empty if none was found."""
        with self._folder as folder:
            found = [java for path in sorted(Path(folder).glob("*.perf"), key=os.path.getmtime) if (java := _read_java(path))]
        return found[-1] if found else Java(found=time.time())


def _read_java(path: Path) -> Java | None:
    """Return the Java that a file of counters describes; None for helper programs and unreadable files."""
    try:
        counters = dict(_read_counters(path.read_bytes()))
    except (OSError, struct.error, ValueError):
        return None
    command = counters.get("sun.rt.javaCommand", "")
    if command.split(" ", 1)[0] in _HELPERS or not counters.get("java.property.java.home"):
        return None
    class_path = counters.get("java.property.java.class.path", "")
    return Java(
        home=counters["java.property.java.home"],
        version=counters.get("java.property.java.vm.version", ""),
        class_path=class_path,
        arguments=counters.get("java.rt.vmArgs", ""),
        files=compute_checksum(class_path),
        found=time.time(),
    )


def _read_counters(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the counters that are strings. HotSpot: perfMemory.hpp, PerfDataPrologue and PerfDataEntry (version 2.0)."""
    if len(data) < 32 or data[:4] != b"\xca\xfe\xc0\xc0":
        raise ValueError("not a file of counters")
    order = "<" if data[4] == 1 else ">"
    at, entries = struct.unpack_from(order + "ii", data, 24)
    for _ in range(entries):
        length, name_at, vector, kind = struct.unpack_from(order + "iiic", data, at)
        value_at = struct.unpack_from(order + "i", data, at + 16)[0]
        if length <= 0 or at + length > len(data):
            raise ValueError("an entry is longer than the file")
        if kind == b"B" and vector:
            name = data[at + name_at : data.index(b"\0", at + name_at)].decode()
            yield name, data[at + value_at : at + value_at + vector].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        at += length
