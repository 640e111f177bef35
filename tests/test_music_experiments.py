"""The experiments on music with weak targets: what they take for true, their losses, a short training, their pages."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch", reason="the experiments train torch networks")
pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
pytest.importorskip("joblib", reason="the experiments run over processes")
if torch:
    from benchmarks.experiments import chords, chords_page, music, pitch_classes, pitch_classes_page

    PITCH = pitch_classes.QUICK._replace(
        training=music.Part((21, 41), ("organ",), performances=1),
        test=music.Part((61,), ("flute",), performances=1),
        frames=60,
        batch=2,
        epochs=2,
        updates=1,
        frame_rate=10.0,
    )
    CHORDS = chords.QUICK._replace(batch=2, updates=1)

STRONG = np.repeat(np.eye(3, dtype=np.float32), [2, 1, 3], axis=0)


def test_f_measure_by_hand():
    predicted, strong = np.array([[1, 1], [0, 1]], bool), np.array([[1, 0], [1, 1]], bool)
    assert music.f_measure(predicted, strong) == pytest.approx(2 * 2 / (3 + 3))


def test_recordings_are_kept_and_the_same(tmp_path):
    from sdtwkit import datasets

    part = music.Part((21,), ("piano", "organ"), performances=2)
    first = music.recordings(part, datasets.pitch_class_roll, 5.0, tmp_path)
    again = music.recordings(part, datasets.pitch_class_roll, 5.0, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    for a, b in zip(first, again, strict=True):
        assert len(a.features) == len(a.targets)
        assert_array_equal(a.features, b.features)
        assert_array_equal(a.targets, b.targets)
        assert set(np.unique(a.targets)) == {0, 1}


def test_the_true_alignment():
    assert_array_equal(pitch_classes.true_path(STRONG, False).T, [range(6), [0, 0, 1, 2, 2, 2]])
    unfolded = pitch_classes.true_path(STRONG, True)  # the even spread is 0, 0, 1, 1, 2, 2
    assert_array_equal(unfolded[unfolded[:, 0] == 2], [[2, 2], [2, 3]])


def test_distances_to_the_true_frames():
    """The even spread has frame 3 on target 1, whose one frame is 2; all else is right."""
    assert pitch_classes.distance(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 2, 2])) == pytest.approx(1 / 6)


@pytest.mark.parametrize("semitones", [-5, -1, 0, 1, 6])
def test_transposed_features(semitones, rng):
    features = rng.random((4, 72)).astype(np.float32)
    found = pitch_classes.transposed(features, semitones)
    for pitch in range(72):
        inside = 0 <= pitch - semitones < 72
        assert_array_equal(found[:, pitch], features[:, pitch - semitones] if inside else 0)


def test_logits_are_those_of_the_softmax(rng):
    scores = torch.tensor(rng.normal(size=(2, 5, 24)))
    assert_allclose(torch.sigmoid(chords.logits_of_softmax(scores)), scores.softmax(-1), atol=1e-12)
    sure = torch.zeros(1, 24).index_fill(1, torch.tensor(3), 200.0)
    assert torch.isfinite(chords.logits_of_softmax(sure)).all()


def test_templates_are_turned(rng):
    """A chroma that is turned has turned scores: root k from the template k semitones up."""
    network = chords.Network(with_blank=False)
    assert sum(p.numel() for p in network.parameters()) == 25
    chroma = torch.tensor(rng.random((1, 3, 12)), dtype=torch.float32)
    scores = network(chroma).reshape(1, 3, 2, 12)
    turned = network(chroma.roll(4, -1)).reshape(1, 3, 2, 12)
    torch.testing.assert_close(turned, scores.roll(4, -1))


def test_folds_part_the_pieces():
    data = chords.Data([[k] for k in range(len(chords.PIECES))], [[k] for k in range(len(chords.PIECES))])
    tested = []
    for seed in range(5):
        training, test = chords.fold(data, seed, CHORDS)
        assert sorted(training + test) == list(range(len(chords.PIECES)))
        tested += test
    assert sorted(tested) == list(range(len(chords.PIECES)))


def test_every_strategy_trains(tmp_path):
    data = pitch_classes.data(PITCH, tmp_path)
    results = {}
    for name, strategy in pitch_classes.STRATEGIES.items():
        result, pictures = pitch_classes.train(strategy, 0, PITCH, data)
        assert 0 <= result["f"] <= 1
        assert strategy.strong or pictures["last"].shape[0] == PITCH.frames
        results[name] = [result]
    facts = pitch_classes.facts(data, PITCH)
    page = pitch_classes_page.markdown(pitch_classes.STRATEGIES, results, PITCH, facts, 1.0, "command", None)
    for strategy in pitch_classes.STRATEGIES.values():
        assert f"| {strategy.title} |" in page


def test_every_supervision_trains(rng):
    recordings = [
        music.Recording(
            rng.random((200, 12)).astype(np.float32),
            np.eye(24, dtype=np.float32)[np.repeat(rng.integers(24, size=10), 20)],
        )
        for _ in range(2)
    ]
    results = {}
    for name, supervision in chords.SUPERVISIONS.items():
        results[name] = [chords.train(supervision, 0, CHORDS, recordings, recordings)]
        assert 0 <= results[name][0]["f"] <= 1
    facts = {"pieces": 19, "minutes": 1.0, "targets": 9.0}
    page = chords_page.markdown(chords.SUPERVISIONS, results, CHORDS, facts, 1.0, "command")
    for supervision in chords.SUPERVISIONS.values():
        assert f"| {supervision.title} |" in page
