import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import CPU, expression

from scbignn.annotation import _tokens
from scbignn.annotation._gene_gnn import LearnedReadOut
from scbignn.annotation._tokens import Bucket, Tokens, pack, packs


def test_every_cell_is_in_one_bucket_with_its_genes_and_values():
    x = expression(60, 25, empty=(4, 17))
    found = {}
    for bucket in Tokens(x, CPU).buckets(np.arange(60)):
        for row, genes, values, expressed in zip(*bucket, strict=True):
            assert row.item() not in found
            found[row.item()] = dict(zip(genes[expressed].tolist(), values[expressed].tolist(), strict=True))
    assert found == {i: dict(zip(x[[i]].indices, x[[i]].data, strict=True)) for i in range(60) if i not in (4, 17)}


def test_padding_is_empty_and_at_the_end():
    padded = 0
    for bucket in Tokens(expression(60, 25), CPU).buckets(np.arange(60)):
        padding = ~bucket.expressed
        padded += padding.sum().item()
        assert not bucket.genes[padding].any()
        assert not bucket.values[padding].any()
        assert (bucket.expressed.int().diff(dim=1) <= 0).all()
        assert bucket.expressed.all(1).any()  # no wider than the longest cell
    assert padded


def test_packed_buckets_come_apart_again():
    x = expression(60, 25, empty=(4, 17))
    buckets = list(Tokens(x, CPU).buckets(np.arange(60)))
    packed = pack(buckets)
    for name in ("genes", "values", "expressed"):
        parts = packed.split(getattr(packed, name))
        for bucket, part in zip(buckets, parts, strict=True):
            assert torch.equal(part[..., 0], getattr(bucket, name))
    cells = x[torch.cat([bucket.rows for bucket in buckets]).numpy()]
    sums = packed.sum(torch.stack([packed.values, packed.expressed], dim=1))
    np.testing.assert_allclose(sums, np.column_stack([cells.sum(1), np.diff(cells.indptr)]), rtol=1e-6)


@pytest.mark.parametrize(("most", "n_packs"), [(1, None), (10**6, 1)])
def test_packs_are_all_buckets_in_order_and_no_larger_than_they_may(monkeypatch, most, n_packs):
    monkeypatch.setattr(_tokens, "_WASTED_PAIRS", 10)
    monkeypatch.setattr(_tokens, "MAX_TOKENS", most)
    tokens = Tokens(expression(60, 25), CPU)
    buckets = list(tokens.buckets(np.arange(60)))
    found = list(packs(tokens.buckets(np.arange(60))))
    assert len(buckets) > 1
    assert len(found) == (n_packs or len(buckets))
    for bucket, other in zip(buckets, (bucket for some in found for bucket in some), strict=True):
        assert torch.equal(bucket.rows, other.rows)


def test_rows_are_places_in_the_batch_also_with_repeated_cells():
    x = expression(30, 20)
    cells = np.array([7, 3, 7, 29, 0])
    rows = {}
    for bucket in Tokens(x, CPU).buckets(cells):
        rows |= {row.item(): genes[e].tolist() for row, genes, _, e in zip(*bucket, strict=True)}
    assert rows == {place: x[[cell]].indices.tolist() for place, cell in enumerate(cells)}


@pytest.mark.parametrize("wasted", [0, 2000])
def test_padding_wastes_at_most_a_quarter_or_less_than_another_bucket_costs(monkeypatch, wasted):
    monkeypatch.setattr(_tokens, "_WASTED_PAIRS", wasted)
    tokens = Tokens(expression(200, 80), CPU)
    buckets = list(tokens.buckets(np.arange(200)))
    assert 1 < len(buckets) < (50 if not wasted else 12)
    for bucket in buckets:
        lengths = bucket.expressed.sum(1)
        waste = len(lengths) * lengths.max() ** 2 - (lengths**2).sum()
        assert lengths.max() ** 2 <= 1.25 * lengths.min() ** 2 or waste <= wasted


def test_buckets_are_bounded_unless_one_cell_exceeds_the_bound(monkeypatch):
    monkeypatch.setattr(_tokens, "MAX_PAIRS", 300)
    x = expression(100, 40)
    buckets = list(Tokens(x, CPU).buckets(np.arange(100)))
    assert sum(len(b.rows) for b in buckets) == 100
    assert all(len(b.rows) == 1 or b.genes.numel() * b.genes.shape[1] <= 300 for b in buckets)
    assert any(len(b.rows) == 1 and b.genes.numel() ** 2 > 300 for b in buckets)


@pytest.mark.parametrize("cells", [np.arange(3), np.empty(0, dtype=np.int64)])
def test_nothing_expressed_gives_no_bucket(cells):
    assert list(Tokens(sp.csr_matrix((3, 4), dtype=np.float32), CPU).buckets(cells)) == []


def test_tokens_keep_their_own_copy():
    x = expression()
    tokens = Tokens(x, CPU)
    before = [b.values.clone() for b in tokens.buckets(np.arange(20))]
    x.data[:] = -1
    after = [b.values for b in tokens.buckets(np.arange(20))]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_thinned_tokens_keep_a_random_share_of_each_cells_genes(share):
    x = expression(200, 60, empty=(5,))
    whole = Tokens(x, CPU)
    generator = torch.Generator().manual_seed(0)
    everyone = np.arange(200)
    thin, other = whole.thinned(share, generator, everyone), whole.thinned(share, generator, everyone)
    assert thin.share == share
    assert whole.share == 1
    kept = [np.concatenate([tokens._genes.numpy(), tokens._values.numpy()]) for tokens in (thin, other)]
    assert len(kept[0]) != len(kept[1]) or (kept[0] != kept[1]).any()
    assert abs(thin.lengths.sum() / x.nnz - share) < 0.03
    n_seen = 0
    for bucket in thin.buckets(np.arange(200)):
        for row, genes, values, expressed in zip(*bucket, strict=True):
            original = dict(zip(x[[row.item()]].indices, x[[row.item()]].data, strict=True))
            found = dict(zip(genes[expressed].tolist(), values[expressed].tolist(), strict=True))
            assert found.items() <= original.items()
            n_seen += len(found)
    assert n_seen == thin.lengths.sum()
    assert whole.lengths.sum() == x.nnz


def test_thinning_leaves_out_the_cells_that_were_not_named():
    x = expression(30, 40)
    thin = Tokens(x, CPU).thinned(0.9, torch.Generator().manual_seed(0), np.array([4, 7, 4, 20]))
    assert np.flatnonzero(thin.lengths).tolist() == [4, 7, 20]
    for cell in (4, 7, 20):
        (bucket,) = thin.buckets(np.array([cell]))
        assert set(bucket.genes[0].tolist()) <= set(x[[cell]].indices.tolist())
        assert len(set(bucket.genes[0].tolist())) == thin.lengths[cell]


def test_thinning_leaves_the_expected_sum_of_the_learned_read_out_unchanged():
    x = expression(40, 60)
    bucket = next(Tokens(x, CPU).buckets(np.array([0])))
    read_out = LearnedReadOut(60, 10.0)
    whole = pack([bucket])
    half = pack([Bucket(*(part[:, : part.shape[1] // 2] if part.ndim == 2 else part for part in bucket))])
    assert whole.expressed.all()
    share = len(half.genes) / len(whole.genes)
    found = (read_out(torch.ones(len(tokens.genes), 3), tokens, own) for tokens, own in ((half, share), (whole, 1.0)))
    torch.testing.assert_close(*found)


def test_cells_by_length_cost_more_the_longer_they_are():
    x = expression(60, 40, density=0.5, empty=(3, 7))
    tokens, cells = Tokens(x, CPU), np.random.default_rng(0).permutation(60)[:50]
    rows = tokens.by_length(cells)
    costs, lengths = tokens.costs_of_padded(cells[rows]), tokens.lengths[cells[rows]]
    np.testing.assert_array_equal(np.sort(rows), np.arange(50))
    assert (np.diff(lengths) >= 0).all()
    assert ((costs > 0) == (lengths > 0)).all()
    n_buckets, longest = 0, []
    for bucket in tokens.buckets(cells):
        n_buckets += 1
        longest += [bucket.genes.shape[1]] * len(bucket.rows)
    longest = np.array(longest)
    assert costs.sum() == pytest.approx((longest * (longest + 75)).sum() + 25_000 * n_buckets)


@pytest.mark.parametrize("most", [1, 60, 10**6])
def test_ragged_cells_are_the_stored_entries_and_no_more_at_once_than_may_be(monkeypatch, most):
    monkeypatch.setattr(_tokens, "MAX_TOKENS", most)
    x, cells = expression(40, 25, empty=(4, 17)), np.array([7, 4, 3, 7, 29, 0, 17, *range(20)])
    places = []
    for rows, ragged in Tokens(x, CPU).ragged(cells):
        places += rows.tolist()
        own = x[cells[rows]]
        np.testing.assert_array_equal(ragged.genes, own.indices)
        np.testing.assert_array_equal(ragged.values, own.data)
        np.testing.assert_array_equal(np.append(ragged.starts, len(own.data)), own.indptr)
        np.testing.assert_array_equal(ragged.lengths, np.diff(own.indptr))
        np.testing.assert_allclose(ragged.sum(ragged.values[:, None]), own.sum(1), rtol=1e-6)
        assert ragged.expressed.shape == ragged.genes.shape
        assert ragged.expressed.all()
        assert len(own.data) <= most or len(rows) == 1
    assert places == np.flatnonzero(np.diff(x.indptr)[cells]).tolist()


def test_ragged_cells_without_genes():
    assert list(Tokens(sp.csr_matrix((3, 4), dtype=np.float32), CPU).ragged(np.arange(3))) == []
