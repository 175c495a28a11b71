"""The contract of every encoder, and the published size of ours."""

import json

import pytest
import torch

from train.checkpoint import export_encoder, load_encoder
from train.encoders import ENCODERS, build_encoder, encoder_class


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request):
    return build_encoder(request.param, {}, seed=0).eval()


@pytest.fixture
def waves(encoder):
    torch.manual_seed(0)
    return torch.randn(3, encoder.clip_frames) * 0.1


@torch.no_grad()
def test_layers_are_in_time_order_at_the_frame_rate(encoder, waves):
    layers = encoder.encode(waves, torch.full((3,), encoder.clip_frames))
    num_layers, num_clips, num_tokens, _ = layers.shape
    assert num_layers >= 1
    assert num_clips == 3
    if encoder.frame_rate_hz is not None:
        seconds = encoder.clip_frames / encoder.sample_rate
        assert abs(num_tokens - seconds * encoder.frame_rate_hz) <= 1


@torch.no_grad()
def test_every_pool_makes_one_vector_and_ignores_padding(encoder, waves):
    half = encoder.clip_frames // 2
    frames = torch.tensor([encoder.clip_frames, half, half])
    for name in encoder.pools:
        vectors = encoder.embed(waves, frames, pool=name)
        assert vectors.ndim == 2
        assert len(vectors) == 3
        assert not torch.equal(vectors[1], encoder.embed(waves, frames * 0 + 10**6, pool=name)[1])
    assert encoder.embed(waves, frames).shape == (3, encoder.dim)


@torch.no_grad()
def test_tokens_past_the_end_do_not_matter(encoder, waves):
    features = encoder.frontend(waves)
    encoded = encoder.trunk(features, torch.full((3,), encoder.clip_frames // 2))
    assert encoded.mask.any(1).all()
    assert not encoded.mask.all()
    spoilt = [encoded.layers.clone(), encoded.grid.clone()]
    spoilt[0][:, ~encoded.mask] = 1e3
    spoilt[1].transpose(1, 3)[~encoded.mask] = 1e3
    other = type(encoded)(spoilt[0], encoded.mask, spoilt[1])
    for pool in encoder.pools.values():
        torch.testing.assert_close(pool(encoded), pool(other))


@torch.no_grad()
def test_clips_of_any_length_can_be_embedded(encoder):
    for factor in (0.5, 0.9, 1.7, 4):
        samples = int(encoder.clip_frames * factor)
        vector = encoder.embed(torch.randn(1, samples) * 0.1, torch.tensor([samples]))
        assert vector.shape == (1, encoder.dim)


@torch.no_grad()
def test_a_saved_encoder_gives_the_same_embeddings(encoder, waves, tmp_path):
    export_encoder(encoder, tmp_path, card="# card")
    frames = torch.full((3,), encoder.clip_frames)
    expected = encoder.embed(waves, frames)
    for again in (
        load_encoder(tmp_path),
        load_encoder(tmp_path / "encoder"),
        type(encoder).from_pretrained(tmp_path / "encoder").eval(),
    ):
        assert torch.equal(again.embed(waves, frames), expected)
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert encoder_class(config["encoder"]) is type(encoder)


def test_first_weights_are_a_function_of_the_seed(encoder):
    a, b = (build_encoder(encoder.name, {}, seed=s) for s in (0, 1))
    same = build_encoder(encoder.name, {}, seed=0)
    ours, others, sames = (torch.cat([p.flatten() for p in e.parameters()]) for e in (a, b, same))
    assert torch.equal(ours, sames)
    assert not torch.equal(ours, others)


def test_the_resnet_has_the_papers_parameters():
    """Meseguer-Brocal et al. (2024) state 2.8 million; their released network has 2 800 392."""
    resnet = build_encoder("resnet", {}, seed=0)
    assert sum(p.numel() for p in resnet.parameters()) == 2_800_392
    assert resnet.attention.position.shape == (4 * 3 + 1, 512)


@torch.no_grad()
def test_the_attention_pool_equals_torchs():
    from torch.nn import functional as F

    from train.encoders.encoder import Encoded
    from train.encoders.resnet import AttentionPool

    torch.manual_seed(0)
    pool = AttentionPool(16, 12, grid=(2, 3), num_heads=4)
    grid = torch.randn(5, 16, 2, 3)
    encoded = Encoded(grid.mean(2).transpose(1, 2)[None], torch.ones(5, 3, dtype=torch.bool), grid)
    tokens = grid.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + pool.position[:, None]
    theirs, _ = F.multi_head_attention_forward(
        tokens[:1],
        tokens,
        tokens,
        16,
        4,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.query.bias, pool.key.bias, pool.value.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.out.weight,
        out_proj_bias=pool.out.bias,
        use_separate_proj_weight=True,
        q_proj_weight=pool.query.weight,
        k_proj_weight=pool.key.weight,
        v_proj_weight=pool.value.weight,
    )
    torch.testing.assert_close(pool(encoded), theirs[0])


def test_unknown_names_list_the_known():
    from shards.errors import InputError
    from train.methods import method_class

    with pytest.raises(InputError, match="resnet"):
        encoder_class("resnet50")
    with pytest.raises(InputError, match="byol"):
        method_class("byoll")
