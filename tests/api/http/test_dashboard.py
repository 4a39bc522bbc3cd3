"""The files of the dashboard, and what they may not do."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from watching import site

STATIC = files("espeer.api.http.dashboard") / "static"
FILES = {file.name: file.read_text() for file in STATIC.iterdir()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}


async def test_the_page_and_its_files_are_given_without_a_key_and_nothing_else_is(tmp_path: Path) -> None:
    async with site(tmp_path, key="0123456789abcdef") as there:
        page = await there.client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        wanted = re.findall(r'(?:src|href)="(/[^"]*)"', page.text)
        imported = [f"/static/{name}" for text in SCRIPTS.values() for name in re.findall(r'from "\./(.*?)"', text)]
        assert {f"/static/{name}" for name in FILES} - {"/static/index.html"} == {*wanted, *imported}
        for path in {*wanted, *imported}:
            assert (await there.client.get(path)).status_code == 200, path
        for path in ("/static/", "/static/x.js", "/static/__init__.py", "/static/..%2f__init__.py", "/static/%2e%2e/app.py"):
            assert (await there.client.get(path)).status_code in {401, 404}, path


async def test_a_file_is_sent_anew_only_when_it_has_changed(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        first = await there.client.get("/static/app.js")
        assert first.headers["cache-control"] == "no-cache"
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"
        again = await there.client.get("/static/app.js", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await there.client.get("/static/app.js", headers={"if-none-match": '"other"'})
        assert other.text == first.text


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_script_makes_html_or_code_of_data(name: str) -> None:
    dangerous = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\b|setTimeout\(\s*[\"'`]|DOMParser|srcdoc"
    )
    assert re.findall(dangerous, SCRIPTS[name]) == []


def test_nothing_is_loaded_from_elsewhere_or_stands_inline() -> None:
    for name, text in FILES.items():
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == [], name
    page = FILES["index.html"]
    assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?! type=\"module\" src=)", page) == []
    assert "@import" not in FILES["style.css"]
    assert "url(" not in FILES["style.css"]


def test_every_part_that_a_script_asks_for_is_on_the_page() -> None:
    there = set(re.findall(r'id="([^"]+)"', FILES["index.html"]))
    asked = {name for text in SCRIPTS.values() for name in re.findall(r'\$\("([^"]+)"\)', text)}
    assert asked <= there
    assert set(re.findall(r'(?:for|aria-labelledby|aria-describedby)="([^"]+)"', FILES["index.html"])) <= there
