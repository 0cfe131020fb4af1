"""Choose the environment in which a command starts Java, and learn from each command for the next ones."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ....cache import open_cache
from ....commands import Command
from ....errors import InvalidSetting
from ....trusted_files import mark_used
from ...base import Invocation
from .archives import Archive, Loader, find_archive
from .environment import VARIABLE, allows_archive, choose_fast_options, collect_user_options, join_options
from .making import start_making
from .probe import Java, Probe, Probes
from .settings import JvmSettings

LONGEST_FAST = 40.0
"""Commands that take fewer seconds spend most of their time on the start, which takes about 20 seconds with Spark."""

_SHORT = frozenset(("stage", "preload"))
"""Commands that only look at files and start no engine."""


class JvmStart:
    """The start of Java for one command.

    Attributes:
        environment: the environment of the command.
        is_extended: whether it has options for Java that the user did not set.
    """

    def __init__(
        self, settings: JvmSettings, program: str, command: Command, invocation: Invocation, environment: Mapping[str, str]
    ) -> None:
        """Choose the options. ``environment`` is that of the command, without the options that this package adds."""
        self._settings = settings
        self._program = program
        self._base_environment = environment
        self._loader: Loader = "spark" if command.starts_spark else "native"
        self._folder = None if settings.is_off else choose_folder(settings)
        self._probe: Probe | None = None
        self.is_extended = False
        self.environment = environment
        if not settings.is_off:
            own = list(self._choose_options(command, invocation))
            self.is_extended = bool(own)
            self.environment = self._extend([*own, *settings.options])

    def finish(self, exit_code: int) -> None:
        """Store which Java the command has started. Make an archive in the background if there is none."""
        if self._probe is None or self._folder is None:
            return
        java = self._probe.close()
        self._probe = None
        # A command that failed before it started Java shows nothing about it.
        if java.home or exit_code == 0:
            Probes(self._folder).keep(self._program, self._base_environment, java)
            self._find_archive(self._folder, java)

    def give_up(self) -> None:
        """Remove the options that this package added, because Java did not start with them. They are not tried again for a day."""
        self.close()
        if self._folder is not None:
            Probes(self._folder).keep(self._program, self._base_environment, Java(found=time.time()))
        self.is_extended = False
        self.environment = self._extend(self._settings.options)

    def close(self) -> None:
        """Remove temporary files."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def _extend(self, options: Sequence[str]) -> Mapping[str, str]:
        if not options:
            return self._base_environment
        return {**self._base_environment, VARIABLE: join_options(self._base_environment.get(VARIABLE, ""), options)}

    def _choose_options(self, command: Command, invocation: Invocation) -> Iterator[str]:
        java = None
        if self._folder is not None:
            java = Probes(self._folder).find(self._program, self._base_environment)
            if java is None:
                with contextlib.suppress(OSError):
                    self._probe = Probe()
                    yield from self._probe.options
            elif archive := self._find_archive(self._folder, java):
                yield from archive.options
        # The options that the launcher adds are known only after one command has been observed.
        known = java is not None and bool(java.home)
        compiler = self._settings.compiler
        if compiler == "fast" or (compiler == "auto" and known and _is_short(command, invocation)):
            yield from choose_fast_options(collect_user_options(self._base_environment, java.arguments if java else ""))

    def _find_archive(self, folder: Path, java: Java) -> Archive | None:
        """Return the archive to use. If there is no usable one, start making it."""
        if self._settings.archive == "off" or not allows_archive(collect_user_options(self._base_environment, java.arguments)):
            return None
        archive = find_archive(folder, java, self._loader)
        if archive is None:
            return None
        if archive.is_usable():
            mark_used(archive.note)
            return archive
        start_making(self._program, self._base_environment, folder, archive, self._loader)
        return None


def choose_folder(settings: JvmSettings) -> Path | None:
    """Return the folder of archives and of notes about launchers; None if nothing can be stored."""
    if settings.archive not in ("auto", "off"):
        return Path(os.path.abspath(os.path.expanduser(settings.archive)))
    try:
        cache = open_cache(None, os.environ)
    except InvalidSetting:
        return None
    return cache.folder / "jvm" if cache is not None else None


def _is_short(command: Command, invocation: Invocation) -> bool:
    if command.verb in _SHORT:
        return True
    seconds = invocation.find_usual_seconds()
    return seconds is not None and seconds < LONGEST_FAST
