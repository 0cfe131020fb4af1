"""A Java program in place of Starlake, with a launcher. It is compiled if a JDK is installed."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = """
import java.nio.file.*;
import java.util.stream.*;

public class App {
    static class Work {
        String run() { return IntStream.range(0, 1000).mapToObj(i -> "x" + i).collect(Collectors.joining(",")).substring(0, 8); }
    }

    public static void main(String[] arguments) throws Exception {
        String log = System.getenv("APP_LOG");
        if (log != null)
            Files.writeString(Path.of(log), System.getenv("SL_ROOT") + "\\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        System.out.println("ran " + String.join(" ", arguments) + " " + new Work().run());
        System.err.println("INFO Main: done");
        if (System.getenv("APP_HANGS") != null) {
            sun.misc.Signal.handle(new sun.misc.Signal("TERM"), signal -> System.out.println("not now"));
            System.out.println("hanging");
            Thread.sleep(600_000);
        }
        System.exit(Integer.parseInt(System.getenv().getOrDefault("APP_EXIT", "0")));
    }
}
"""

HELPER = """
package org.apache.spark.launcher;

public class Main {
    public static void main(String[] arguments) { System.out.print("the-command"); }
}
"""


def find_jdks() -> list[Path]:
    """Return the homes of the JDKs of this machine: that of the PATH and those beside it."""
    java = shutil.which("java")
    if java is None or os.name == "nt":
        return []
    own = Path(java).resolve().parents[1]
    homes = {path.resolve().parents[1] for path in own.parent.glob("*/bin/javac")} | {own}
    return sorted(home for home in homes if (home / "bin" / "javac").exists())


@dataclass(frozen=True)
class JavaProgram:
    """A jar and the script that starts it."""

    folder: Path
    home: Path

    @property
    def launcher(self) -> Path:
        return self.folder / "starlake"

    @property
    def jar(self) -> Path:
        return self.folder / "app.jar"

    @property
    def feature_version(self) -> int:
        text = (self.home / "release").read_text(encoding="utf-8")
        return int(text.split('JAVA_VERSION="')[1].split('"')[0].split(".")[0])

    def write_launcher(self, options: str = "", before: str = "") -> None:
        java = self.home / "bin" / "java"
        self.launcher.write_text(
            f'#!/bin/sh\n{before}\nexec "{java}" {options} $JAVA_OPTS $SPARK_DRIVER_OPTIONS -cp "{self.jar}" App "$@"\n', encoding="utf-8"
        )
        self.launcher.chmod(0o755)

    def write_launcher_with_helper(self) -> None:
        """Write a launcher that reads the standard output of a helper, as ``spark-class`` does."""
        java = self.home / "bin" / "java"
        said = f'said=$("{java}" -cp "{self.folder / "classes"}" org.apache.spark.launcher.Main)'
        self.write_launcher(before=f'{said}\n[ "$said" = the-command ] || {{ echo "$said"; exit 9; }}')

    def build(self) -> None:
        """Compile, and make the jar."""
        classes = self.folder / "classes"
        for name, source in (("App.java", SOURCE), ("org/apache/spark/launcher/Main.java", HELPER)):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
            subprocess.run([self.home / "bin" / "javac", "-nowarn", "-d", classes, path], check=True, capture_output=True)
        subprocess.run([self.home / "bin" / "jar", "cf", self.jar, "-C", classes, "."], check=True)
