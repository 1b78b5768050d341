import pytest
import torch

from vqi2i.networks.domain_rows import merge, part, partners, places_of_parts, put_back

DOMAINS = 3
ROWS = torch.tensor([10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33])  # four of each domain


def test_merged_batches_come_apart_again() -> None:
    merged = merge([ROWS, -ROWS], DOMAINS)
    assert merged[:8].tolist() == [10, 11, 12, 13, -10, -11, -12, -13]
    assert [rows.tolist() for rows in part(merged, DOMAINS, 2)] == [ROWS.tolist(), (-ROWS).tolist()]


def test_a_partner_has_the_same_place_in_another_domain() -> None:
    assert partners(ROWS, DOMAINS, 1).tolist() == [20, 21, 22, 23, 30, 31, 32, 33, 10, 11, 12, 13]
    assert torch.equal(partners(partners(ROWS, DOMAINS, 1), DOMAINS, 2), ROWS)


@pytest.mark.parametrize("num_parts", [1, 2, 4])
def test_parts_hold_equally_many_of_each_domain_and_go_back_to_their_places(num_parts: int) -> None:
    places = places_of_parts(len(ROWS), DOMAINS, num_parts, torch.device("cpu"))
    parts = [ROWS[rows] for rows in places]
    each = 4 // num_parts
    assert [(rows // 10).tolist() for rows in parts] == [
        [1] * each + [2] * each + [3] * each
    ] * num_parts
    assert torch.equal(put_back(parts, places), ROWS)
