import hashlib
import json
from itertools import islice

import pytest

from figa_core.domains.base import load_domain, task_numbers
from figa_core.errors import ConfigError

GOLDEN = {
    "support": "1a4a7c24eda11645",
    "structured": "06a21ba33aa06930",
    "arithmetic": "2f7e1ae3bb732ffe",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_world_stays_as_it_was_when_methods_were_compared_on_it(name):
    """Whoever has to change a hash also raises VERSION: old figures do not compare with new ones."""
    domain = load_domain(name)
    rows = json.dumps([domain.version, domain.types, list(domain.rows(200, 0))])
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == GOLDEN[name]


def test_task_numbers_are_different_and_more_of_them_begin_alike():
    numbers = list(task_numbers(5000, 1))
    assert len(set(numbers)) == 5000
    assert list(task_numbers(10, 1)) == numbers[:10]
    assert list(task_numbers(10, 2)) != numbers[:10]
    assert all(100_000 <= number < 1_000_000 for number in numbers)
    with pytest.raises(ValueError, match="900000"):
        task_numbers(1_000_000, 1)


def test_all_task_numbers_come_once():
    assert len(set(islice(task_numbers(900_000, 3), 900_000))) == 900_000


def test_an_unknown_domain_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no domain 'poetry'.*support, structured, arithmetic, code"):
        load_domain("poetry")
