"""Steps that are functions: called in processes of their own, known by their source."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_env, run_program
from workflow import FileCheckpointer, UsageError, Workflow


def local_at_the_top(name: str) -> dict[str, str]:
    return {"NAME": name}


class Holder:
    def method(self) -> None:
        """Bound to an object."""


def module(modules: Path, name: str, text: str) -> Any:
    path = modules / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def test_a_function_is_called_with_its_arguments_in_a_process_of_its_own(where: Path, modules: Path) -> None:
    it = module(
        modules,
        "etl.load",
        "import json, os\n"
        "def load(path, *, rows, deep):\n"
        "    print('loading', path)\n"
        "    open(path, 'w').write(json.dumps([rows, deep, os.getpid(), os.getcwd()]))\n"
        "    return {'ROWS': rows, 'DEEP': deep, 'OK': True, 'TEXT': 'a\\nb'}\n",
    )
    workflow = Workflow("w", project=where)
    workflow.step("load", call=it.load, args=["out.json"], kwargs={"rows": 3, "deep": {"a": [1, None]}})
    workflow.step("use", 'printf "%s|" "$ROWS" "$DEEP" "$OK" "$TEXT" >seen.txt')
    result = workflow.run()
    assert result
    rows, deep, pid, directory = json.loads((where / "out.json").read_text())
    assert (rows, deep, directory) == (3, {"a": [1, None]}, str(where))
    assert pid > 0
    assert (where / "seen.txt").read_text() == '3|{"a": [1, null]}|true|a\nb|'
    assert "loading out.json" in Path(result["load"].log_path).read_text()


def test_what_a_function_raises_fails_the_step_with_the_traceback_of_the_user(where: Path, modules: Path) -> None:
    it = module(modules, "broken", "def inner():\n    raise ValueError('no rows')\ndef outer():\n    inner()\n")
    result = Workflow("w", project=where).step("x", call=it.outer).run()
    assert not result
    text = Path(result["x"].log_path).read_text()
    assert text.startswith("Traceback")
    assert "ValueError: no rows" in text
    assert "in outer" in text
    assert "library/calling.py" not in text
    assert "ValueError: no rows" in "\n".join(result["x"].tail)


def test_sys_exit_is_the_exit_code_and_a_coroutine_is_run(where: Path, modules: Path) -> None:
    it = module(
        modules,
        "various",
        "import asyncio, sys\n"
        "async def wait():\n    await asyncio.sleep(0)\n    return {'DONE': 'yes'}\n"
        "def leave():\n    sys.exit(7)\n"
        "def odd():\n    return [1, 2]\n"
        "def wrong():\n    return {'WORKFLOW_X': 1}\n",
    )
    workflow = Workflow("w", project=where).step("wait", call=it.wait).step("odd", call=it.odd)
    workflow.step("leave", call=it.leave, continue_on_error=True).step("wrong", call=it.wrong)
    result = workflow.run()
    assert result.values["DONE"] == "yes"
    assert result["odd"].status.value == "completed"
    assert "returned a list" in result["odd"].warnings[0]
    assert result["leave"].exit_code == 7
    assert result["wrong"].exit_code == 1
    assert "reserved" in Path(result["wrong"].log_path).read_text()


def test_an_edit_of_the_function_is_a_change_of_the_step(where: Path, modules: Path) -> None:
    text = "def make():\n    open('made.txt', 'a').write('ONE')\n"
    keeper = FileCheckpointer(where / ".checkpoints")

    def workflow(text: str) -> Workflow:
        it = module(modules, "maker", text)
        return Workflow("w", project=where, checkpointer=keeper).step("make", call=it.make, outputs=["made.txt"])

    assert workflow(text).run(smart=True)["make"].status.value == "completed"
    assert workflow(text).run(smart=True)["make"].status.value == "reused"
    plan = workflow(text.replace("ONE", "TWO")).plan(smart=True)
    codes = [reason["code"] for reason in plan["steps"][0]["reasons"]]
    assert "script-changed" in codes
    assert "input-changed" in codes
    assert any("TWO" in line for line in plan["steps"][0]["evidence"]["diff"])
    assert workflow(text.replace("ONE", "TWO")).resume(revalidate=True)["make"].status.value == "completed"
    assert (where / "made.txt").read_text() == "ONETWO"


def test_a_resume_by_the_command_line_calls_the_function_again(where: Path) -> None:
    script = where / "flow.py"
    script.write_text(
        "from workflow import Workflow\n"
        "def once(n):\n    assert __import__('os').path.exists('go'), 'not yet'\n    open('done', 'w').write(str(n))\n"
        "wf = Workflow('w').step('first', 'echo first >>ran.txt').step('once', call=once, args=[5])\n"
        "if __name__ == '__main__':\n    raise SystemExit(wf.run().exit_code)\n"
    )
    env = clean_env()
    began = subprocess.run([sys.executable, "flow.py"], cwd=where, env=env, check=False)
    assert began.returncode == 1
    (where / "go").touch()
    done = run_program("resume", "--auto", cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (where / "done").read_text() == "5"
    assert (where / "ran.txt").read_text() == "first\n"


def test_the_project_may_be_moved(where: Path) -> None:
    (where / "flow.py").write_text(
        "from workflow import Workflow\n"
        "def once():\n    open('done', 'w').write('yes') if __import__('os').path.exists('go') else exit(1)\n"
        "if __name__ == '__main__':\n    Workflow('w').step('once', call=once).run()\n"
    )
    subprocess.run([sys.executable, "flow.py"], cwd=where, env=clean_env(), check=True)
    moved = where.rename(where.parent / "moved")
    (moved / "go").touch()
    done = run_program("resume", "--auto", cwd=moved)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (moved / "done").exists()


def test_a_program_without_a_guard_is_told_so_and_does_not_run_itself(where: Path) -> None:
    (where / "flow.py").write_text(
        "from workflow import Workflow\n"
        "def f():\n    pass\n"
        "result = Workflow('w').step('f', call=f).run()\n"
        "print(*result['f'].tail, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "flow.py"], cwd=where, env=clean_env(), check=False, capture_output=True, text=True, timeout=60
    )
    assert "runs a workflow as soon as it is loaded" in done.stdout
    assert 'if __name__ == "__main__":' in done.stdout
    assert len(list((where / ".checkpoints").glob("workflow_*"))) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: None, "a lambda has no name"),
        (Holder().method, "is bound to an object"),
        (functools.partial(local_at_the_top, "x"), "a partial has no name"),
        (len, "is in no file"),
        (json.dumps, None),
        (7, "a int has no name|int is nothing to call"),
    ],
)
def test_what_no_other_process_could_call_is_refused_at_once(where: Path, call: Any, words: str | None) -> None:
    workflow = Workflow("w", project=where)
    if words is None:
        workflow.step("x", call=call, args=[[1]])
        return
    with pytest.raises(UsageError, match=words) as caught:
        workflow.step("x", call=call)
    assert caught.value.help


def test_a_local_function_is_refused(where: Path) -> None:
    def inside() -> None: ...

    with pytest.raises(UsageError, match=r"inside\(\) is local to another function"):
        Workflow("w", project=where).step("x", call=inside)


def test_a_function_under_another_name_than_its_own_is_refused(where: Path, modules: Path) -> None:
    it = module(
        modules,
        "decorated",
        "import functools\n"
        "def twice(f):\n"
        "    @functools.wraps(f)\n"
        "    def both():\n        f(); f()\n"
        "    return both\n"
        "@twice\n"
        "def fine():\n    open('n.txt', 'a').write('x')\n"
        "hidden = fine\n"
        "def fine2(): pass\n"
        "kept = fine2\n"
        "def fine2(): pass\n",
    )
    with pytest.raises(UsageError, match="something else"):
        Workflow("w", project=where).step("x", call=it.kept)
    assert Workflow("w", project=where).step("x", call=it.fine).run()
    assert (where / "n.txt").read_text() == "xx"


@pytest.mark.parametrize("argument", [{1, 2}, object(), {1: "a"}, float("nan"), b"bytes"])
def test_arguments_that_json_cannot_hold_are_refused(where: Path, argument: Any) -> None:
    with pytest.raises(UsageError, match="JSON"):
        Workflow("w", project=where).step("x", call=local_at_the_top, args=[argument])


def test_a_function_whose_file_went_away_is_told(where: Path, modules: Path) -> None:
    it = module(modules, "gone", "def f(): pass\n")
    workflow = Workflow("w", project=where).step("x", call=it.f)
    (modules / "gone.py").unlink()
    with pytest.raises(Exception, match=r"file of f\(\) cannot be read"):
        workflow.run()


def test_a_run_of_a_program_goes_on_elsewhere_once_its_files_are_there(where: Path, tmp_path: Path) -> None:
    text = (
        "from workflow import Workflow\n"
        "def once():\n    open('done', 'w').write('yes') if __import__('os').path.exists('go') else exit(1)\n"
        "if __name__ == '__main__':\n    Workflow('w').step('once', call=once).run('night')\n"
    )
    (where / "flow.py").write_text(text)
    subprocess.run([sys.executable, "flow.py"], cwd=where, env=clean_env(), check=True)
    assert run_program("checkpoint", "export", "--out", "run.tar.gz", cwd=where).returncode == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "flow.py").write_text(text)
    (other / "go").touch()
    assert run_program("checkpoint", "import", str(where / "run.tar.gz"), cwd=other).returncode == 0
    done = run_program("resume", "--auto", "--trust", cwd=other)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (other / "done").exists()
    assert not (where / "done").exists()
    keeper = FileCheckpointer(other / ".checkpoints")
    assert keeper.latest("night").workflow == "w"
