"""What a user of the magics sees in JupyterLab: results, errors, completion, interrupts, and the dark theme."""

from collections.abc import Callable

from conftest import Notebook
from playwright.sync_api import Locator, expect

import tensorad as ts
from tensorad_ipython.display import tensor_html

Opened = Callable[..., Notebook]

START = """%load_ext tensorad
import tensorad as ts
x = ts.tensor(6.)"""
CUBE = """%%grad y wrt x -n 3
y = x ** 3"""


def box(element: Locator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what an element looks like on the page."""
    found = element.bounding_box()
    assert found is not None, "it is not shown"
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


def test_typeset_result(opened: Opened) -> None:
    notebook = opened(START, CUBE)
    assert notebook.run_all()
    result = notebook.output(1)
    expect(result.locator("td math")).to_have_text(["216", "108", "36", "6"])
    for formula in result.locator("math").all():
        left, top, right, bottom = box(formula)
        assert right > left
        assert bottom > top
    fractions = result.locator("th math mfrac")
    expect(fractions).to_have_text(["dy/dx", "d^2y/dx^2", "d^3y/dx^3"])
    for fraction in fractions.all():
        above, below = (box(part) for part in fraction.locator(":scope > *").all())
        assert above[3] <= below[1], "the denominator is not below the numerator"
    notebook.screenshot("result")


def test_tensors(opened: Opened) -> None:
    notebook = opened(
        START,
        "ts.tensor([[1., -2.], [0.5, 1e-7]], name='W_1')",
        "x",
        """weights = {"weight": ts.tensor([[1., -2.], [0., 1.]]), "bias": ts.tensor([0.5, 0.])}
with ts.Grad() as g:
    loss = ((ts.tensor([1., 2.]) @ weights["weight"] + weights["bias"]) ** 2).sum()
g.gradient(loss, weights)""",
        "ts.tensor([float(n) for n in range(100)])",
    )
    assert notebook.run_all()
    matrix = notebook.output(1)
    expect(matrix.locator("mtr")).to_have_text(["1, −2; ", "0.5, 1×10^−7"])
    expect(matrix).to_contain_text("(2, 2) float32")
    first, second = (box(row) for row in matrix.locator("mtr").all())
    assert first[3] <= second[1], "the rows are not one below the other"
    expect(notebook.output(2).locator("math")).to_have_text("6")
    gradients = notebook.output(3)
    expect(gradients.locator("th")).to_have_text(["['bias']=", "['weight']="])
    expect(gradients.locator("td math mtd")).to_have_text(["3, ", "0", "3, ", "0; ", "6, ", "0"])
    expect(notebook.output(4).locator("pre")).to_contain_text("Tensor([ 0.,  1.,")
    notebook.screenshot("tensors")


def test_untrusted(opened: Opened) -> None:
    # Of somebody else's notebook that has not run here, JupyterLab shows the text alone: it must not read wrong.
    shown = tensor_html(ts.tensor([[1.0, -2.0], [0.5, 1e-7]], name="W_1"))
    notebook = opened("w", shown=shown)
    expect(notebook.output(0)).to_contain_text("W_1=[1, −2; 0.5, 1×10^−7]")
    expect(notebook.output(0).locator("math")).to_have_count(0)
    notebook.screenshot("untrusted")


def test_error(opened: Opened) -> None:
    notebook = opened(START, "%%grad y wrt x -n 2\ny = x ** 3\nz = 1 / 0", "print('after the error')")
    assert not notebook.run_all()
    shown = notebook.output(1)
    expect(shown).to_contain_text("Cell In[2], line 3")
    expect(shown).to_contain_text("----> 3 z = 1 / 0")
    expect(shown).to_contain_text("ZeroDivisionError: division by zero")
    text = shown.inner_text()
    assert text.count("Cell In[") == 1
    for frame in ("tensorad_ipython", "magic", "File "):
        assert frame not in text
    expect(notebook.output(2)).to_have_count(0)  # the cells after it have not run
    notebook.screenshot("error")


def test_await(opened: Opened) -> None:
    cell = "%%grad y wrt x -n 2\nimport asyncio\nthree = await asyncio.sleep(0, 3)\ny = x ** three"
    notebook = opened(START, cell)
    assert notebook.run_all()
    expect(notebook.output(1).locator("td math")).to_have_text(["216", "108", "36"])


def test_completion(opened: Opened) -> None:
    notebook = opened(START, "")
    notebook.run_cell(0)
    notebook.cell(1).locator(".cm-content").click()
    notebook.page.keyboard.type("%%grad y wrt x --ord")
    notebook.cell(1).locator(".jp-mod-completer-enabled").wait_for()  # until then Tab makes an indent
    notebook.page.keyboard.press("Tab")
    notebook.page.locator(".jp-Completer-item[data-value='--order']").click()
    expect(notebook.cell(1).locator(".cm-line")).to_have_text("%%grad y wrt x --order")


def test_interrupt(opened: Opened) -> None:
    endless = """%%grad y wrt x -n 2
import time
y = x ** 3
print("it runs")
while True:
    time.sleep(0.01)"""
    notebook = opened(START, endless, "print(ts.node.recording.get().entries)")
    interrupted(notebook)


def test_interrupt_of_await(opened: Opened) -> None:
    endless = """%%grad y wrt x -n 2
import asyncio
y = x ** 3
print("it runs")
while True:
    await asyncio.sleep(0.01)"""
    notebook = opened(START, endless, "print(ts.node.recording.get().entries)")
    interrupted(notebook)


def interrupted(notebook: Notebook) -> None:
    """Interrupt the second cell; the third then finds no context open."""
    notebook.run("window.running = app.commands.execute('notebook:run-all-cells')")
    expect(notebook.output(1).first).to_have_text("it runs")
    notebook.run("await app.commands.execute('notebook:interrupt-kernel')")
    assert not notebook.run("return await window.running")
    expect(notebook.output(2)).to_have_count(0)
    notebook.run_cell(2)
    expect(notebook.output(2)).to_have_text("()")


def test_names_are_text(opened: Opened) -> None:
    script, image = "<script>alert(1)</script>", "<img src=x onerror=f()>"
    notebook = opened(
        START,
        f"ts.tensor(1., name='{script}')",
        f"named = {{'{script}': x, '{image}': x}}\nnamed",
        f"%%grad named['{script}'] * named['{image}'] wrt named\n0",
    )
    assert notebook.run_all()
    expect(notebook.output(1)).to_contain_text(script)
    rows = notebook.output(3).last.locator("tr").all()
    for formula, number in (row.locator("th math, td math").all() for row in rows):
        assert box(formula)[2] <= box(number)[0], "a formula stands over its number"
    expect(notebook.output(2)).to_contain_text(script)
    expect(notebook.output(2)).to_contain_text(image)
    expect(notebook.output(3).last).to_contain_text("∂named['<script>alert")  # long expressions are shortened
    expect(notebook.output(3).last).to_contain_text("∂named['<img src=x")
    expect(notebook.page.locator(".jp-OutputArea").locator("script, img")).to_have_count(0)
    notebook.screenshot("names")


def test_dark(opened: Opened) -> None:
    # It stands last: JupyterLab keeps the theme.
    notebook = opened(START, CUBE, "ts.tensor([[1., -2.], [0.5, 1e-7]], name='W_1')")
    assert notebook.run_all()
    notebook.run("await app.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    for formula in notebook.page.locator(".jp-OutputArea-output math").all():
        text, background = (lightness(colour) for colour in formula.evaluate(COLOURS))
        assert text - background > 0.5, "the text is not readable"
    notebook.screenshot("dark")


COLOURS = """element => {
    const colour = getComputedStyle(element).color;
    const see_through = each => getComputedStyle(each).backgroundColor === "rgba(0, 0, 0, 0)";
    while (see_through(element)) element = element.parentElement;
    return [colour, getComputedStyle(element).backgroundColor];
}"""


def lightness(colour: str) -> float:
    """How light a colour like rgb(255, 255, 255) is, from 0 to 1."""
    red, green, blue = (int(each) / 255 for each in colour.split("(")[1].rstrip(")").split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
