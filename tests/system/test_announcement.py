"""Rank 0 announces its store, whoever opened it: the others wait for that before they try the port."""

from unittest import mock

import pytest

from p2be_exp.system.peers import Peers
from p2be_exp.system.rendezvous import meet, open_store


@pytest.mark.parametrize("rank", [0, 1])
def test_a_store_that_was_opened_before_is_announced_by_the_first_rank(rank):
    store, peers = open_store(), mock.create_autospec(Peers, instance=True)
    store.set(f"p2be_exp//rank/{1 - rank}", "here")
    meet(rank, 2, "127.0.0.1", store.port, 60.0, keeps=store, peers=peers)
    assert peers.announce.call_count == (rank == 0)
