"""The page of all options says what the models say."""

import importlib.util
from pathlib import Path

PAGE_MAKER = Path(__file__).parents[3] / "docs" / "make_configuration.py"


def test_the_page_of_options_is_the_one_that_the_models_write():
    spec = importlib.util.spec_from_file_location("make_configuration", PAGE_MAKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.text(), "run: python docs/make_configuration.py"
