"""Open the pages of Dagster's web server in Chromium, for tests and for the pictures of the documentation."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from dev_process import WAIT

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1600, 1000
_TEXT = "return document.body ? document.body.innerText : ''"


class Browser:
    """A headless Chromium with one page, as a context manager. The test is skipped if Chromium is not installed."""

    def __init__(self) -> None:
        pytest.importorskip("selenium", reason="needs the package selenium")
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        driver = shutil.which("chromedriver")
        if program is None or driver is None:
            pytest.skip("needs Chromium and chromedriver")
        options = Options()
        options.binary_location = program
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(argument)
        self.driver: Any = webdriver.Chrome(options=options, service=Service(driver))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def open(self, url: str) -> None:
        """Open a page."""
        self.driver.get(url)

    def read(self) -> str:
        """Return the visible text of the page."""
        return str(self.driver.execute_script(_TEXT))

    def wait_for(self, text: str, *, gone: bool = False, seconds: float = WAIT) -> str:
        """Wait until the page shows a string, or no longer shows it. Return the text of the page."""
        end = time.monotonic() + seconds
        while (text in (shown := self.read())) is gone:
            assert time.monotonic() < end, f"{text!r} is {'still' if gone else 'not'} on {self.driver.current_url}:\n{shown}"
            time.sleep(0.1)
        return shown

    def click(self, text: str) -> None:
        """Click the element that contains a string."""
        from selenium.webdriver.common.by import By

        self.wait_for(text)
        self.driver.find_element(By.XPATH, f"//*[normalize-space(text())='{text}']").click()

    def save(self, path: Path) -> None:
        """Save the content of the window as a PNG, after animations have ended."""
        before, now = b"", self.driver.get_screenshot_as_png()
        end = time.monotonic() + 10
        while before != now and time.monotonic() < end:
            time.sleep(0.5)
            before, now = now, self.driver.get_screenshot_as_png()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(now)
