"""The documentation as a site: it builds without warnings, every link leads somewhere, and pages load nothing from other hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import REPOSITORY, list_pages

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

URLS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mkdocs = Path(sys.executable).parent / "mkdocs"
    if not mkdocs.exists():
        pytest.skip("needs mkdocs-material and mkdocstrings, see requirements/dev.in")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([mkdocs, "build", "--strict", "--site-dir", folder], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    pages = {str(path.relative_to(REPOSITORY / "docs").with_suffix(".html")) for path in (REPOSITORY / "docs").rglob("*.md")}
    assert {name for name in pages if not (site / name).is_file()} == set()


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    """Links may lead elsewhere. Scripts, styles, fonts, and pictures may not."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', text)
        for link in re.findall(r"<link [^>]+>", text):
            if re.search(r'rel="(?:stylesheet|preconnect|icon)"', link):
                loaded += re.findall(r'href="([^"]+)"', link)
        assert [address for address in loaded if "//" in address] == [], page
        assert 'data-md-component="source"' not in text, f"{page}: the theme would ask GitHub for stars"


def test_the_python_reference_has_every_public_name(site: Path) -> None:
    import starlake_dagster_components

    text = (site / "reference/python_api.html").read_text(encoding="utf-8")
    # Settings are documented field by field on their own page.
    names = {name: getattr(starlake_dagster_components, name) for name in starlake_dagster_components.__all__ if name != "Settings"}
    # An old spelling of a name leads to the object of the new one, and is not documented.
    documented = {name for name, value in names.items() if getattr(value, "__name__", name) == name}
    assert {name for name in documented if f"{name}</span>" not in text} == set()


def test_the_python_reference_shows_docstrings_as_markdown(site: Path) -> None:
    text = (site / "reference/python_api.html").read_text(encoding="utf-8")
    assert re.findall(r":(?:class|func|meth|data|mod|attr):|\.\. code-block|<p>::", text) == []
    returned = re.findall(r"Returns:</span></p>.*?</table>", text, re.DOTALL)
    assert returned
    assert [table.count("<tr") for table in returned if table.count("<tr") != 2] == [], "a header, and one row"


def test_bars_in_code_in_tables_have_no_backslash(site: Path) -> None:
    text = (site / "settings.html").read_text(encoding="utf-8")
    assert "shell | dagster_<wbr>shell" in text
    assert [page.name for page in site.rglob("*.html") if re.search(r"<td[^>]*>[^\n]*\\\|", page.read_text(encoding="utf-8"))] == []


def test_long_names_break_between_words_and_are_found_whole(site: Path) -> None:
    text = (site / "settings.html").read_text(encoding="utf-8")
    assert "<code>load_<wbr>definitions_<wbr>from_<wbr>starlake_<wbr>project(root, asset_<wbr>keys=" in text
    assert "<code>expectation_checks</code>" in text, "the name of a row stays whole"
    assert not re.search(r"<pre[^>]*>(?:(?!</pre>).)*<wbr>", text, re.DOTALL)
    assert "load_definitions_from_starlake_project" in (site / "search/search_index.json").read_text(encoding="utf-8")


def test_absolute_links_to_the_repository_lead_to_files() -> None:
    """The README has absolute links, so that they also work on the page of a package index."""
    wrong = []
    for page in [*list_pages(), REPOSITORY / "SECURITY.md", *(REPOSITORY / ".github").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(re.escape(URLS["Repository"]) + r"/(?:blob|tree|raw)/main/([^)#\s\"]+)", text):
            if not (REPOSITORY / path).exists():
                wrong.append(f"{page.name}: {path}")
    assert wrong == []


def test_links_of_the_readme_work_on_other_sites() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target] == []


def test_relative_links_lead_to_files() -> None:
    wrong = []
    for page in [*list_pages(), REPOSITORY / "SECURITY.md", REPOSITORY / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                wrong.append(f"{page.relative_to(REPOSITORY)}: {target}")
    assert wrong == []


def test_addresses_of_the_project_are_the_same_everywhere() -> None:
    """One repository, one address: in pyproject.toml, the site's configuration and the prose."""
    files = [*list_pages(), REPOSITORY / "mkdocs.yml", *(REPOSITORY / "deploy").rglob("*"), *(REPOSITORY / ".github").rglob("*.yml")]
    for path in files:
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found = set(re.findall(r"https://github\.com/[\w-]+/starlake-dagster-components", text))
            assert found <= {URLS["Repository"]}, path


def test_pictures_have_a_size_limit() -> None:
    pictures = list((REPOSITORY / "docs/images").glob("*"))
    assert {p.suffix for p in pictures} <= {".png"}
    assert [p.name for p in pictures if p.stat().st_size > 200_000] == []


def test_the_page_about_metadata_has_every_name() -> None:
    page = (REPOSITORY / "docs/reference/metadata.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "starlake_dagster_components").rglob("*.py")]
    names = {name for text in sources for name in re.findall(r"[\"'](starlake/[a-z_]+)", text)}
    assert len(names) > 40
    assert {name for name in names if f"`{name}`" not in page} == set()
