"""Costs at OpenVLA-7B's shape: formulas and PyTorch's counter over the real network say the same."""

from __future__ import annotations

import resource

import pytest

from vla_entropy_ros.bench.openvla import LLAMA, ROWS, STEP, TOWERS, Counted
from vla_entropy_ros.engine.cost import decoder_flops, paper_macs, vision_flops


@pytest.fixture(scope="module")
def counted() -> Counted:
    return Counted()


def test_the_network_is_openvla_7b(counted: Counted) -> None:
    parameters = sum(parameter.numel() for parameter in counted._network.parameters())
    assert parameters == pytest.approx(7.5e9, rel=0.02)  # what is run of it: without the towers' last blocks
    assert all(parameter.is_meta for parameter in counted._network.parameters())


def test_formulas_and_counter_agree(counted: Counted) -> None:
    full, reused = (round(ROWS), round(ROWS), 1), (round(ROWS - 98.5), round(ROWS), 7)
    for passes in (full, reused, STEP):
        assert counted.decoder(*passes) == decoder_flops(LLAMA, *passes)
    assert counted.vision() == vision_flops(TOWERS, LLAMA.hidden_size)
    figures = (counted.vision(), counted.decoder(*full), 6 * counted.decoder(*STEP))
    assert [round(figure / 1e12, 3) for figure in figures] == [0.405, 3.734, 0.08]


def test_the_papers_figures_are_those_of_the_network(counted: Counted) -> None:
    for rows, figure in ((ROWS, 1.8638), (ROWS - 98.5, 1.2138)):
        assert counted.paper(rows) / 1e12 == pytest.approx(figure, abs=5e-5)
        assert counted.paper(rows) == pytest.approx(paper_macs(LLAMA, rows), rel=1e-6)


def test_counting_needs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Counted().decoder(*STEP)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB, of a network of 30 GB
