import pytest
import torch

from evaluate.parallel import each_on_one_core


def test_results_keep_their_order_and_every_one_is_counted():
    counted = []
    work = [lambda i=i: i * i for i in range(20)]
    assert each_on_one_core(work, lambda: counted.append(1)) == [i * i for i in range(20)]
    assert len(counted) == 20


def test_work_runs_on_one_core_and_the_number_of_threads_comes_back():
    torch.set_num_threads(2)
    assert each_on_one_core([torch.get_num_threads] * 4) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


def test_the_first_error_is_raised():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        each_on_one_core([lambda: 1, fail])
    assert each_on_one_core([]) == []
