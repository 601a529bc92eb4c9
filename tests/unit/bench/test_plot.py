"""Charts as files: the data is in them, text stays text, and a page asks for nothing from outside."""

import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from phi4local.bench.plot import Axis, Chart, Series, check_files, write
from phi4local.bench.plot.chart import number
from phi4local.errors import InvalidSettingError, OutputExistsError

SPEED = Chart(
    title="Generation <b>against</b> context",
    x=Axis(title="Context", unit="tokens", log=True),
    y=Axis(title="Speed", unit="tokens per second"),
    series=(
        Series(
            label="$a_b$ & co",
            x=(0, 4096, 16384),
            y=(9.5, 7.25, 5.0),
            low=(9.25, 7.0, 4.75),
            high=(9.75, 7.5, 5.25),
        ),
        Series(label="other", x=(0, 4096), y=(3.0, 2.5)),
    ),
    note="standard deviation of 5 rounds",
)
MODELS = Chart(
    title="Speed by model",
    x=Axis(title="Model", names=("small", "large")),
    y=Axis(title="Speed", unit="tokens per second"),
    series=(Series(label="tg128", x=(0, 1), y=(20.0, 8.0)),),
)
SIZES = Chart(
    title="What quantizing costs",
    x=Axis(title="File size", unit="GB"),
    y=Axis(title="KL divergence", unit="nats a token", log=True),
    series=(Series(label="phi-4", x=(15.6, 9.1), y=(0.0004, 0.013), names=("Q8_0", "Q4_K_M")),),
)
ALL = (SPEED, MODELS, SIZES)


class Page(HTMLParser):
    """What a browser makes of a page: elements with their attributes, cells of tables."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.cells, self._cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cells.append(self._cell)
            self._cell = None


def svg_texts(content):
    tree = ElementTree.fromstring(content)
    return [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_a_png_is_a_picture_of_the_size_of_its_charts(tmp_path):
    write(tmp_path / "a.png", [SPEED])
    write(tmp_path / "b.PNG", [SPEED, MODELS])
    sizes = []
    for name in ("a.png", "b.PNG"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert content.endswith(b"IEND\xaeB`\x82")
        sizes.append(struct.unpack(">II", content[16:24]))
    assert sizes[1] == (2 * sizes[0][0], sizes[0][1])


def test_an_svg_has_titles_labels_with_units_and_values_as_text(tmp_path):
    write(tmp_path / "all.svg", ALL)
    texts = svg_texts((tmp_path / "all.svg").read_bytes())
    for expected in (
        "Generation <b>against</b> context",
        "Context (tokens)",
        "Speed (tokens per second)",
        "$a_b$ & co",
        "16,384",
        "small",
        "Q4_K_M",
        "0.001",
        "standard deviation of 5 rounds",
    ):
        assert expected in texts, expected


def test_the_same_chart_gives_the_same_bytes(tmp_path):
    for name in ("one.svg", "two.svg", "one.png", "two.png"):
        write(tmp_path / name, [SPEED, MODELS])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_points_stand_where_the_data_says(tmp_path):
    """An oracle of its own: the positions of the markers in the SVG against a straight line through them."""
    line = Series(label="line", x=(0.0, 1.0, 4.0), y=(1.0, 2.0, 5.0))
    chart = Chart(title="", x=Axis(title="x"), y=Axis(title="y"), series=(line,))
    write(tmp_path / "line.svg", [chart])
    markers = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #0072b2',
                         (tmp_path / "line.svg").read_text())  # fmt: skip
    (x0, y0), (x1, y1), (x2, y2) = ((float(x), float(y)) for x, y in markers[:3])
    assert (x2 - x0) / (x1 - x0) == pytest.approx(4, rel=1e-3)
    assert (y2 - y0) / (y1 - y0) == pytest.approx(4, rel=1e-3)
    assert y2 < y0


def test_a_page_holds_all_data_in_tables_and_asks_for_nothing(tmp_path):
    write(tmp_path / "all.html", ALL)
    text = (tmp_path / "all.html").read_text(encoding="utf-8")
    page = Page(text)
    for chart in ALL:
        columns, rows = chart.table()
        assert all(cell in page.cells for cell in (*columns, *(cell for row in rows for cell in row)))
    assert [tag for tag, _ in page.elements].count("svg") == 3
    assert not {"script", "link", "img", "iframe", "object", "b"} & {tag for tag, _ in page.elements}
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    for tag, attributes in page.elements:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert set(attributes["aria-labelledby"].split()) <= set(names)


def test_every_row_of_the_table_is_a_point_with_its_error_bar():
    columns, rows = SPEED.table()
    assert columns == ("Series", "Context (tokens)", "Speed (tokens per second)", "From", "To")
    assert rows[1] == ("$a_b$ & co", "4,096", "7.25", "7", "7.5")
    assert rows[4] == ("other", "4,096", "2.5", "", "")
    assert MODELS.table()[1] == (("tg128", "small", "20"), ("tg128", "large", "8"))
    assert SIZES.table()[1][1] == ("phi-4", "Q4_K_M", "9.1", "0.013")


@pytest.mark.parametrize(
    ("value", "text"),
    [(16384, "16,384"), (9.12345, "9.123"), (1234.5, "1,234"), (0.0004, "0.0004"), (0, "0")],
)
def test_numbers_have_four_digits_that_count(value, text):
    assert number(value) == text


def test_names_of_other_scripts_and_control_characters_are_drawn_somehow(tmp_path):
    series = Series(label="模型\x1b[2J\n", x=(1, 2), y=(1, 2))
    write(tmp_path / "odd.svg", [Chart(title="\x00", x=Axis(title="x"), y=Axis(title="y"), series=(series,))])
    assert "模型?[2J?" in svg_texts((tmp_path / "odd.svg").read_bytes())


def test_what_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "there.svg").write_text("mine")
    with pytest.raises(InvalidSettingError, match="no known format") as refused:
        check_files([tmp_path / "chart.jpeg"])
    assert ".png, .svg or .html" in refused.value.hint
    with pytest.raises(InvalidSettingError, match="no folder"):
        check_files([tmp_path / "missing" / "chart.png"])
    with pytest.raises(OutputExistsError):
        write(tmp_path / "there.svg", [SPEED])
    assert (tmp_path / "there.svg").read_text() == "mine"
    write(tmp_path / "there.svg", [SPEED], overwrite=True)
    assert svg_texts((tmp_path / "there.svg").read_bytes())


def test_without_the_extra_the_hint_names_it(tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from phi4local.bench.plot import check_files\n"
        "from phi4local.errors import MissingExtraError\n"
        "try: check_files(['chart.png'])\n"
        "except MissingExtraError as error: print(error, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    assert 'pip install "phi4local[plot]"' in done.stdout


def test_series_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        Series(label="s", x=(1, 2), y=(1,))
    with pytest.raises(ValueError, match="different lengths"):
        Series(label="s", x=(1,), y=(1,), low=(1,))
