"""Packages that are installed and cannot be imported, or are not installed at all."""

import shlex

from phi4local.doctor import packages


def test_what_cannot_be_imported_is_named_with_its_reason(tmp_path, monkeypatch):
    for name, code in (
        ("jinja2", "import os; os.abort()"),
        ("matplotlib", "raise ImportError('no backend')"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    needed, optional = packages.check(60.0)
    assert (needed.name, needed.state) == ("packages", "wrong")
    assert needed.seen == "jinja2 cannot be imported: is ended by SIGABRT"
    assert shlex.split(needed.command)[-2:] == ["--force-reinstall", "jinja2>=3.1.6"]
    assert (optional.name, optional.state) == ("optional parts", "warning")
    assert "matplotlib cannot be imported: ImportError: no backend" in optional.seen


def test_what_is_not_installed_is_named_with_the_version_that_is_needed(tmp_path, monkeypatch):
    folder = tmp_path / "phi4local-0.1.0.dist-info"
    folder.mkdir()
    needs = ("no-such-package<2,>=1", "gguf", "numba; extra == 'convert'")
    lines = ["Metadata-Version: 2.1", "Name: phi4local", "Version: 0.1.0"]
    (folder / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs)]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "OPTIONAL", {"another-missing-one": "flies"})
    needed, optional = packages.check(60.0)
    assert (needed.state, needed.seen) == ("wrong", "no-such-package is not installed")
    assert shlex.split(needed.command)[-2:] == ["install", "no-such-package<2,>=1"]
    assert (optional.state, optional.seen) == ("ok", "another-missing-one is not installed (flies)")
