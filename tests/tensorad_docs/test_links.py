"""The check of the site's links finds what leads nowhere, and nothing else."""

from pathlib import Path

from tensorad_docs.links import broken

GOOD = """
<a href="other/page.html#there">x</a> <a href="#here">x</a> <a href="other/">x</a> <a href="other/page.html?q=1">x</a>
<a href="https://elsewhere.example/">x</a> <a href="mailto:a@b.example">x</a> <a href="a%20file.txt">x</a>
<img src="data:image/png;base64,AAAA"> <link rel="stylesheet" href="style.css"> <h2 id="here">x</h2>
<link rel="canonical" href="https://published.example/index.html">
"""
BAD = {
    '<a href="nope.html">': "nope.html leads to no file",
    '<script src="lost.js"></script>': "lost.js leads to no file",
    '<a href="#nowhere">': "#nowhere leads to no anchor",
    '<a href="other/page.html#nowhere">': "other/page.html#nowhere leads to no anchor",
    '<a href="empty/">': "empty/ leads to no file",
    '<a href="../outside.html">': "../outside.html leads to no file",
    '<svg><image href="https://a.example/x.png"/></svg>': "https://a.example/x.png is fetched from elsewhere",
    '<link rel="stylesheet" href="https://a.example/x.css">': "https://a.example/x.css is fetched from elsewhere",
    '<img src="//cdn.example/x.png">': "//cdn.example/x.png is fetched from elsewhere",
}


def site(folder: Path, *parts: str) -> Path:
    (folder.parent / "outside.html").write_text("")
    (folder / "other").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "index.html").write_text(GOOD + "".join(parts))
    (folder / "404.html").write_text('<a href="/anywhere/else.html">')
    for name in ("other/page.html", "other/index.html"):
        (folder / name).write_text('<a name="there" href="../index.html">x</a>')
    for name in ("style.css", "a file.txt"):
        (folder / name).write_text("")
    return folder


def test_good_links(tmp_path: Path) -> None:
    assert broken(site(tmp_path / "site")) == []


def test_bad_links(tmp_path: Path) -> None:
    assert broken(site(tmp_path / "site", *BAD)) == [f"index.html: {words}" for words in BAD.values()]
