"""The examples in the docstrings of the Python interface run and print what they say."""

import doctest

import pytest

import phi4local
from phi4local.runtime import blocking, pipeline
from phi4local.runtime import model as local
from phi4local.settings import LoadSettings

MODULES = [blocking, local, pipeline]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_are_true(module, native_library):
    with phi4local.load("phi4-nano:F32", LoadSettings(threads=1)) as model:
        names = {"model": model, "pipeline": phi4local.pipeline("text-generation", model=model)}
        found = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
        assert found
        report = []
        runner = doctest.DocTestRunner(verbose=False)
        for test in found:
            runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
