"""The comparison of benchmarks/speed: that it measures, goes on where it was, and reports what failed."""

import importlib
import json
import pathlib

import pytest

pytestmark = pytest.mark.usefixtures("project_root")


def module(name):
    return importlib.import_module(f"benchmarks.speed.{name}")


def test_one_case_from_the_command_line_and_then_the_next(tmp_path, capsys):
    main = module("__main__").main
    arguments = ["--rounds", "2", "--directory", str(tmp_path), "--only"]
    assert main([*arguments, "metric, ids"]) == 0
    (written,) = tmp_path.glob("*.json")
    results = json.loads(written.read_text())["results"]
    assert set(results) == {"tensorflow: ours", "tensorflow: bincount"}
    assert all(0 < one["fastest"] <= one["seconds"] and one["rounds"] == 2 for one in results.values())
    before = written.stat().st_mtime_ns
    assert main([*arguments, "metric, ids"]) == 0
    assert written.stat().st_mtime_ns == before
    assert "| metric from ids, ours ÷ bincount: at most 2 |" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {written.name, "table.md", "chart.png", "growth.png"}


def test_no_such_case(capsys):
    assert module("__main__").main(["--only", "teleportation"]) == 2
    assert "--list" in capsys.readouterr().err


def test_no_gpu(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert module("__main__").main(["--gpu"]) == 2 and "found no NVIDIA GPU" in capsys.readouterr().err


def test_every_case_has_a_name_of_its_own_and_someone_who_does_it():
    cases = [*module("cases").cases(), *module("cases").gpu_cases()]
    assert len({module("report").path_of(".", name) for name, _, _ in cases}) == len(cases)
    for _, case, contestants in cases:
        for contestant in contestants:
            side = pathlib.Path(module("rounds").__file__).with_name(module("rounds").SIDES[contestant.engine] + ".py")
            assert case["part"] in ("command", "exported") or f"def {case['part']}(" in side.read_text()


def test_what_fails_is_reported_and_the_others_are_measured():
    rounds = module("rounds")
    race = rounds.Race(rounds=1)
    good, bad = (rounds.Contestant("commands", line) for line in ("import json", "import no_such_module"))
    try:
        together = race.run({"part": "command"}, [bad, good])
        alone = race.run({"part": "command", "alone": True}, [bad, good])
    finally:
        race.close()
    assert "no_such_module" in together[str(bad)]["error"] and "no_such_module" in alone[str(bad)]["error"]
    assert together[str(good)]["seconds"] > 0
    assert alone[str(good)]["start"] > alone[str(good)]["first"] > 0


def test_memory_is_the_peak_and_not_what_is_left():
    rounds = module("rounds")
    rounds.forget_peak()
    before = rounds.memory()
    if before["peak"] != before["peak"]:
        pytest.skip("this system does not say")
    block = bytearray(200_000_000)
    del block
    after = rounds.memory()
    assert after["peak"] - before["held"] > 190e6 > after["held"] - before["held"]


def test_claims_are_judged_by_their_numbers():
    ours, dense = {"seconds": 2.0}, {"seconds": 9.0}
    record = {"name": "upsampling ×32", "case": {"part": "upsampling"}}
    record["results"] = {"tensorflow: ours": ours, "tensorflow: dense": dense}
    growth = [
        {
            "name": f"growth {n}",
            "case": {"part": "forward", "size": n},
            "results": {"tensorflow: ours": {"seconds": n**3}},
        }
        for n in (2, 4, 8)
    ]
    table = module("claims").table([record, *growth])
    assert "dense ÷ ours: at least 4 | 4.50 | reached |" in table
    assert "against pixels, logarithmic: at most 1.1 | 1.50 | missed |" in table
    assert "MeanIoU ÷ ours: at least 5 | – | not measured |" in table


def test_the_limit_is_the_best_product():
    report = module("report")
    results = {"a": {"seconds": 4.0}, "b": {"seconds": 2.0}, "c, bfloat16": {"seconds": 1.0}}
    matmul = {"name": "matmul", "case": {"part": "matmul", "side": 100}, "results": results}
    assert report.peak([matmul]) == 100**3 / 2
    case = {"part": "step", "backbone": "mini_vgg", "finest": 32, "size": 32, "batch": 2}
    forward = report.floor_of(case | {"part": "forward", "batch": 1}, limit=1e9)
    assert report.floor_of(case, limit=1e9) == pytest.approx(6 * forward)
