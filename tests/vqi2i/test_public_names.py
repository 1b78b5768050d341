"""What `vqi2i` offers is found by its name, and loaded when it is asked for."""

import pytest

import vqi2i


@pytest.mark.parametrize("name", vqi2i.__all__)
def test_a_public_name_is_the_thing_of_its_module(name: str) -> None:
    thing = getattr(vqi2i, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("vqi2i.")


def test_another_name_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError, match=r"^module 'vqi2i' has no attribute 'Tranlator'$"):
        _ = vqi2i.Tranlator
