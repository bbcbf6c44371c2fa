"""The tests."""

from tests.support.native import use_named_build

use_named_build()
