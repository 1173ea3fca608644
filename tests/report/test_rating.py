"""Blind choices: pairs, agreement against other formulas, and a server that trusts no one."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from loraeval.errors import ScoresError
from loraeval.report.agreement import (
    _auc,
    _tau,
    agreement,
    agreement_table,
    agreements,
    choice_auc,
    kendall_tau,
)
from loraeval.report.pictures import find_image
from loraeval.report.rating_server import (
    IDLE_SECONDS,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    MAX_HEADER_BYTES,
    RatingServer,
    RatingSession,
    doorway,
)
from loraeval.report.ratings import judged_scores, make_pairs, read_ratings

CHOICES = st.lists(
    st.tuples(st.integers(-5, 5), st.sampled_from([-1, 0, 1])), min_size=5, max_size=25
)


def test_agreement_by_hand():
    assert choice_auc([0.3, 0.2, -0.1], [1, 1, -1]) == 1.0
    assert choice_auc([0.3, 0.2, -0.1], [-1, -1, 1]) == 0.0
    assert choice_auc([0.0, 0.0], [1, -1]) == 0.5
    assert kendall_tau([0.3, 0.2, -0.1], [1, 1, -1]) == pytest.approx(
        kendalltau([3, 2, -1, -3, -2, 1], [1, 1, -1, -1, -1, 1]).statistic
    )


@given(CHOICES)
def test_fast_formulas_agree_with_scipy_and_with_counting(pairs):
    d = np.array([float(x) for x, _ in pairs])
    y = np.array([c for _, c in pairs])
    if not d.any() or not y.any():
        return
    assert _tau(d, y) == pytest.approx(kendall_tau(d.tolist(), y.tolist()))
    toward = d[y != 0] * y[y != 0]
    wins = np.mean([[(a > b) + 0.5 * (a == b) for b in -toward] for a in toward])
    assert choice_auc(d.tolist(), y.tolist()) == pytest.approx(wins)
    assert _auc(d, y) == pytest.approx(wins)
    assert choice_auc((-d).tolist(), (-y).tolist()) == pytest.approx(wins)  # order of sides


def test_a_metric_that_people_follow_and_one_that_they_do_not():
    chance = random.Random(3)
    judged = []
    for _ in range(60):
        followed, other = chance.gauss(0, 1), chance.gauss(0, 1)
        choice = 1 if followed + chance.gauss(0, 0.4) > 0 else -1
        judged.append(({"a": followed, "b": other}, {"a": 0.0, "b": 0.0}, choice))
    good, bad = agreements(judged, ["a", "b"])
    assert good.auc_interval[0] > 0.8
    assert good.tau_interval[0] > 0.4
    assert bad.auc_interval[0] < 0.5 < bad.auc_interval[1]
    assert good == agreements(judged, ["a"])[0]
    assert "60" in agreement_table([good, bad])


def test_what_cannot_be_measured_says_why():
    assert agreement("m", [0.1] * 5, [-1] * 5).reason == "too few: 5 pairs judged of 20 needed"
    table = agreement_table([agreement("m", [0.1] * 5, [-1] * 5)])
    assert "too few" in table
    assert "0.00" not in table
    undecided = agreement("m", [0.1] * 40, [1] * 5 + [0] * 35)
    assert undecided.reason == "too few: a difference seen in 5 pairs of 20 needed"
    assert "one score" in agreement("m", [0.0] * 20, [1] * 20).reason
    assert "no difference" in agreement("m", [0.1] * 20, [0] * 20).reason
    assert "not measured" in agreement_table([agreement("m", [], [])])


def test_pairs_follow_from_the_seed_and_swap_about_half(study):
    pairs = make_pairs(study.rows, study.baseline.rows, seed=5)
    assert len(pairs) == 20
    assert pairs == make_pairs(tuple(reversed(study.rows)), study.baseline.rows, seed=5)
    assert pairs != make_pairs(study.rows, study.baseline.rows, seed=6)
    assert 4 <= sum(pair.swapped for pair in pairs) <= 16
    assert all(pair.candidate.prompt_id == pair.baseline.prompt_id for pair in pairs)


def test_no_shared_prompt_is_refused(study):
    other = [replace(row, prompt_id="else") for row in study.baseline.rows]
    with pytest.raises(ScoresError, match="same prompts"):
        make_pairs(study.rows, other)


@pytest.fixture
def served(tmp_path, study) -> Iterator[tuple[RatingServer, object]]:
    pairs = make_pairs(study.rows[:6], study.baseline.rows, seed=1)
    session = RatingSession(
        pairs, {}, tmp_path / "ratings.jsonl",
        lambda p: (find_image(study.images, p.candidate.image),
                   find_image(study.baseline.images, p.baseline.image)),
        lambda: "summary of choices",
        {row.prompt_id: "a baker <lora:my-000007:1> as asked for" for row in study.rows},
    )  # fmt: skip
    server = RatingServer(session)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, tmp_path / "ratings.jsonl"
    server.shutdown()
    thread.join(20)
    assert not thread.is_alive()


def ask(server, method, path, body=None, headers=None, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    sent = {"Host": host or f"127.0.0.1:{server.server_address[1]}", **(headers or {})}
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def test_bound_to_loopback(served):
    assert served[0].server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "headers", "host"),
    [
        ("GET", "/", {}, "evil.example"),
        ("GET", "/state", {}, None),
        ("GET", "/state?token=TOKEN", {}, None),  # a token in an address is none
        ("GET", "/state", {"X-Loraeval-Token": "wrong"}, None),
        ("GET", "/image/x", {}, None),
        ("GET", "/state?token=TOKEN", {}, "evil.example:80"),
        ("GET", "/state?token=TOKEN", {}, "127.0.0.1:1"),
        ("GET", "/rate.js", {}, "evil.example"),
        ("POST", "/choice?token=TOKEN", {}, None),  # the token must stand in a header
    ],
)
def test_strangers_are_refused(served, method, path, headers, host):
    server, store = served
    path = path.replace("TOKEN", server.session.token)
    status, content, _ = ask(
        server, method, path, "{}" if method == "POST" else None, headers, host
    )
    assert (status, content) == (403, b"")
    assert not store.exists()


def test_choices_are_stored_whole_and_blind(served, study):
    server, store = served
    token = {"X-Loraeval-Token": server.session.token}
    status, page, headers = ask(server, "GET", "/")
    assert status == 200
    assert server.session.token.encode() not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    seen = 0
    _, body, _ = ask(server, "GET", "/state", headers=token)
    state = json.loads(body)
    while state["pair"] is not None:
        text = json.dumps(state)
        assert state["prompt"].endswith("as asked for")
        assert "lora" not in state["prompt"]
        assert "epoch" not in text
        assert "GOLD" not in text
        assert "portrait" not in text
        status, image, _ = ask(server, "GET", f"/image/{state['left']}", headers=token)
        assert status == 200
        assert image.startswith(b"\x89PNG")
        choice = json.dumps({"pair": state["pair"], "side": ["left", "right", "same"][seen % 3]})
        status, body, _ = ask(server, "POST", "/choice", choice, token)
        assert status == 200
        state = json.loads(body)
        seen += 1
        assert len(read_ratings(store)) == seen
    assert seen == 6
    assert state["summary"] == "summary of choices"
    status, body, _ = ask(
        server, "POST", "/choice", json.dumps({"pair": "", "side": "undo"}), token
    )
    assert json.loads(body)["done"] == 5
    pairs = server.session.pairs
    for first, second, _choice in judged_scores(pairs, read_ratings(store)):
        assert first != second


def test_a_browser_is_started_without_the_token(served, tmp_path, monkeypatch):
    server, _ = served
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    page = doorway(folder, server.address)
    assert server.session.token not in page.as_uri()
    assert page.stat().st_mode & 0o077 == 0
    assert f"url={server.address}" in page.read_text()
    with pytest.raises(FileExistsError):
        doorway(folder, server.address)  # never through a link that somebody put there


def test_connections_and_bodies_are_bounded(served):
    server, store = served
    port = server.server_address[1]
    token = {"X-Loraeval-Token": server.session.token}
    status, _, _ = ask(server, "POST", "/choice", "x" * (MAX_BODY_BYTES + 1), token)
    assert status == 413
    status, _, _ = ask(server, "GET", "/state", headers={"X-Long": "x" * MAX_HEADER_BYTES})
    assert status == 431
    held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(60)]
    try:
        for one in held:
            one.sendall(b"GET / HTTP/1.1\r\n")  # and never an end
        for _ in range(100):
            if len(server._server.active_channels) >= MAX_CONNECTIONS - 2:
                break
            time.sleep(0.05)
        time.sleep(0.3)
        assert len(server._server.active_channels) <= MAX_CONNECTIONS
    finally:
        for one in held:
            one.close()
    status, _, _ = ask(server, "GET", "/state", headers=token)
    assert status == 200
    assert not store.exists()


def test_idle_connections_are_closed(served):
    server, _ = served
    assert server._server.adj.channel_timeout == IDLE_SECONDS <= 30
    assert server._server.adj.connection_limit == MAX_CONNECTIONS


@pytest.mark.parametrize("body", ["", "[]", "{", '{"pair": "x", "side": "left"}', '{"pair": 1}'])
def test_broken_choices_are_refused(served, body):
    server, store = served
    status, _, _ = ask(server, "POST", "/choice", body, {"X-Loraeval-Token": server.session.token})
    assert status == 400
    assert not store.exists()


def test_swapped_sides_are_told_right(served):
    server, store = served
    for pair in server.session.pairs:
        server.session.choose(pair.key, "left")
    found = read_ratings(store)
    for pair in server.session.pairs:
        assert found[pair.key].choice == ("baseline" if pair.swapped else "candidate")


def test_a_broken_file_of_ratings_names_its_line(tmp_path):
    path = tmp_path / "ratings.jsonl"
    path.write_text('{"pair": "a"}\n')
    with pytest.raises(ScoresError, match=r"ratings\.jsonl:1"):
        read_ratings(path)
