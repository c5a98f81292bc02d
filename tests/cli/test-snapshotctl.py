#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Black-box tests of snapshotctl that need neither CRIU nor a GPU. Prints TAP.

test-snapshotctl.py SNAPSHOTCTL MAKE-SNAPSHOT MANUAL
"""
import html.parser
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

PROGRAM, MAKE_SNAPSHOT, MANUAL = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:4])
TESTS = []

MANIFEST = {
    "stasis": "0.1.0",
    "source": {"host": "node<1>", "kernel": "6.18.0", "architecture": "x86_64",
               "cpu_model": "Some & CPU", "boot_id": "b"},
    "workload": {"name": "demo", "mode": "own", "command": ["python3", "-c", "<script>alert(1)</script>"],
                 "stdio": "log", "tcp": "keep",
                 "processes": [
                     {"pid": 2, "ppid": 1, "command": "child \x1b[2J", "threads": 3,
                      "rss_bytes": 1 << 20, "cuda": True},
                     {"pid": 1, "ppid": 0, "command": "root-process", "threads": 1,
                      "rss_bytes": 4096, "cuda": False}]},
    "cuda": {"driver": "580.65.06", "processes": [],
             "gpus": [{"uuid": "GPU-11111111-2222-3333-4444-555555555555", "name": "Big GPU",
                       "memory": 150 << 30}]},
    "criu": {"version": "4.2.1"},
    "phases": [{"name": "freeze", "seconds": 0.25}, {"name": "dump", "seconds": 1.5}],
}


def test(function):
    TESTS.append(function)
    return function


def run(*arguments, env=None, cwd=None, root=None, user=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STASIS_")}
    environment.update({"COLUMNS": "80"}, **(env or {}))
    command = [PROGRAM, *(["--root", root] if root else []), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd,
                          stdin=subprocess.DEVNULL, timeout=120, user=user)


def equal(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def contains(text, *parts):
    for part in parts:
        assert part in text, f"no {part!r} in {text!r}"


class Store:
    """A root directory with snapshots, gone at the end."""

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="snapshotctl-test-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)

    def make(self, name, *files, manifest=None, die=False):
        path = pathlib.Path(self.root, ".manifest.json")
        path.write_text(json.dumps(MANIFEST if manifest is None else manifest))
        environment = dict(os.environ, **({"DIE": "1"} if die else {}))
        done = subprocess.run([MAKE_SNAPSHOT, self.root, name, str(path), *(files or ["bulk=70000", "small=10"])],
                              capture_output=True, text=True, env=environment)
        path.unlink()
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments, **more):
        return run(*arguments, root=self.root, **more)

    def json(self, *arguments):
        done = self.run("--json", *arguments)
        return json.loads(done.stdout)

    def path(self, reference):
        name, version = reference.split("@")
        return pathlib.Path(self.root, name, "versions", version)


def commands():
    overview = run("help").stdout
    listed = overview[overview.index("Commands\n"):overview.index("\nOptions of")]
    return re.findall(r"^  (\w+) +\S", listed, re.M)


@test
def version_is_printed():
    done = run("--version")
    equal(done.returncode, 0)
    assert re.fullmatch(r"snapshotctl \d+\.\d+\.\d+\S*\n", done.stdout), done.stdout


@test
def no_command_is_wrong_and_shows_help():
    done = run()
    equal(done.returncode, 2)
    equal(done.stdout, "")
    contains(done.stderr, "Commands", "checkpoint")


@test
def every_command_has_help():
    names = commands()
    assert len(names) >= 17, names
    for name in names:
        done = run(name, "--help")
        equal(done.returncode, 0)
        contains(done.stdout, f"Usage: snapshotctl {name}", "Exit status", "Examples")
        equal(run("help", name).stdout, done.stdout)
        assert max(map(len, done.stdout.splitlines())) <= 110


@test
def an_error_says_why_and_what_to_do():
    done = run("chekpoint")
    equal(done.returncode, 2)
    equal(done.stdout, "")
    contains(done.stderr, "snapshotctl: Unknown command 'chekpoint'; did you mean 'checkpoint'?",
             "\n  why: ", "\n  do: ", "\n  code: usage\n")
    equal(done.stderr.count("snapshotctl: "), 1)


@test
def an_error_as_json():
    done = run("--json", "inspect", "nothing", root="/nonexistent")
    equal(done.returncode, 1)
    error = json.loads(done.stdout)["error"]
    equal(sorted(error), ["code", "cure", "message", "why"])
    equal(error["code"], "snapshot-missing")
    contains(done.stderr, "code: snapshot-missing")
    done = run("list", "--jsno", "--json")
    equal(json.loads(done.stdout)["error"]["code"], "usage")


@test
def a_full_disk_is_no_success():
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "explain"], stdout=full, stderr=subprocess.PIPE, text=True)
    equal(done.returncode, 1)
    contains(done.stderr, "No space left on device")


@test
def closed_descriptors_do_no_harm():
    done = subprocess.run(["sh", "-c", f"'{PROGRAM}' explain usage >&- 2>&- <&-"])
    assert done.returncode in (0, 1), done.returncode


@test
def list_of_nothing():
    with Store() as store:
        done = store.run("list")
        equal((done.returncode, done.stdout), (0, ""))
        contains(done.stderr, "No snapshots")
        equal(store.json("list")["snapshots"], [])


@test
def list_of_some():
    with Store() as store:
        store.make("a")
        store.make("a")
        store.make("b")
        entries = store.json("list")["snapshots"]
        equal([e["reference"] for e in entries], ["a@1", "a@2", "b@1"])
        equal({e["state"] for e in entries}, {"complete"})
        equal(entries[0]["bytes"], 70010)
        equal([e["reference"] for e in store.json("list", "b")["snapshots"]], ["b@1"])
        lines = store.run("list").stdout.splitlines()
        equal(len(lines), 4)
        contains(lines[0], "ID", "VERSION", "AGE", "SIZE")


@test
def the_root_can_come_from_the_environment():
    with Store() as store:
        store.make("a")
        done = run("list", "--json", env={"STASIS_ROOT": store.root})
        equal(len(json.loads(done.stdout)["snapshots"]), 1)


@test
def inspect_for_people():
    with Store() as store:
        store.make("demo")
        done = store.run("inspect", "demo")
        equal(done.returncode, 0)
        contains(done.stdout, "Snapshot demo@1", "node<1>", "Big GPU", "150.0 GiB", "4.2.1",
                 "  root-process", "    child \\x1b[2J", "freeze", "1.50 s", "bulk", str(store.path("demo@1")))
        assert "\x1b" not in done.stdout


@test
def inspect_as_json():
    with Store() as store:
        store.make("demo")
        manifest = store.json("inspect", "demo@1")
        equal(manifest["path"], str(store.path("demo@1")))
        equal(manifest["workload"]["name"], "demo")
        equal((manifest["id"], manifest["version"]), ("demo", "1"))


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = set(), [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        equal(self.open.pop(), tag)

    def handle_data(self, data):
        self.text += data


@test
def inspect_as_a_page():
    with Store() as store:
        store.make("demo")
        path = pathlib.Path(store.root, "page.html")
        done = store.run("inspect", "demo", "--html", str(path))
        equal((done.returncode, done.stdout), (0, ""))
        page = Page()
        page.feed(path.read_text())
        equal(page.open, [])
        contains(page.text, "<script>alert(1)</script>", "node<1>", "Some & CPU", "child \\x1b[2J", "Big GPU")
        assert not page.tags & {"script", "img", "link", "iframe"}, page.tags
        assert not [v for n, v in page.attributes if n in ("src", "href") or n.startswith("on")]
        equal(store.run("inspect", "demo", "--html", "-").stdout, path.read_text())
        contains(store.run("inspect", "demo", "--html", "/dev/stdout").stdout, "</html>")
        done = store.run("inspect", "demo", "--html", "/nonexistent/page.html")
        equal(done.returncode, 1)
        contains(done.stderr, "/nonexistent/page.html")


@test
def inspect_with_hardly_any_field():
    with Store() as store:
        store.make("bare", manifest={})
        for arguments in (["inspect", "bare"], ["inspect", "bare", "--html", "-"], ["inspect", "bare", "--json"]):
            equal(store.run(*arguments).returncode, 0)
        store.make("odd", manifest={"workload": [1], "cuda": "x", "phases": {"a": 1}, "source": None,
                                    "criu": {"version": -1}})
        for arguments in (["inspect", "odd"], ["inspect", "odd", "--html", "-"]):
            equal(store.run(*arguments).returncode, 0)


@test
def verify_finds_a_flipped_bit():
    with Store() as store:
        store.make("demo")
        done = store.run("verify", "demo")
        equal(done.returncode, 0)
        contains(done.stdout, "demo@1 is sound: 2 files")
        equal(store.json("verify", "demo")["sound"], True)
        bulk = store.path("demo@1") / "bulk"
        data = bytearray(bulk.read_bytes())
        data[40000] ^= 4
        bulk.write_bytes(data)
        done = store.run("verify", "demo@1")
        equal(done.returncode, 4)
        contains(done.stdout, "damaged", "bulk", "DAMAGED")
        contains(done.stderr, "code: snapshot-damaged")
        done = store.run("verify", "demo", "--json")
        equal(done.returncode, 4)
        report = json.loads(done.stdout)
        equal((report["sound"], report["findings"][0]["path"]), (False, "bulk"))


@test
def verify_finds_missing_and_foreign_files():
    with Store() as store:
        store.make("demo")
        (store.path("demo@1") / "small").unlink()
        (store.path("demo@1") / "stray").write_text("x")
        report = store.json("verify", "demo")
        equal([(f["kind"], f["path"]) for f in report["findings"]], [("missing", "small"), ("foreign", "stray")])


@test
def a_damaged_manifest():
    with Store() as store:
        store.make("demo")
        (store.path("demo@1") / "manifest.json").write_text("{}")
        equal(store.run("inspect", "demo").returncode, 4)
        equal(store.json("list")["snapshots"][0]["state"], "damaged")
        contains(store.run("list").stdout, "damaged")
        equal(store.run("delete", "demo").returncode, 0)


@test
def delete_one_and_all():
    with Store() as store:
        for _ in range(3):
            store.make("a")
        done = store.run("delete", "a")
        equal(done.returncode, 2)
        contains(done.stderr, "has 3 versions", "--all-versions")
        equal(store.run("delete", "a@1", "--all-versions").returncode, 2)
        done = store.run("delete", "a@2")
        equal((done.returncode, done.stdout), (0, "deleted a@2\n"))
        equal(store.run("delete", "a@2").returncode, 1)
        equal(store.json("delete", "a", "--all-versions")["deleted"], ["a@1", "a@3"])
        equal(store.json("list")["snapshots"], [])
        equal(store.run("delete", "a").returncode, 1)
        store.make("b")
        equal(store.run("delete", "b").stdout, "deleted b@1\n")


@test
def gc_keeps_what_it_is_told():
    with Store() as store:
        for _ in range(4):
            store.make("a")
        equal(store.json("gc")["items"], [])
        result = store.json("gc", "--keep", "1", "--dry-run")
        equal((result["dry_run"], sorted(i["version"] for i in result["items"])), (True, ["1", "2", "3"]))
        equal(len(store.json("list")["snapshots"]), 4)
        equal(store.json("gc", "--keep", "3", "--older-than", "1d")["items"], [])
        contains(store.run("gc", "--keep", "2").stdout, "freed")
        equal([e["version"] for e in store.json("list")["snapshots"]], ["3", "4"])


@test
def gc_removes_what_an_interrupted_capture_left():
    with Store() as store:
        store.make("a", die=True)
        equal(store.json("list")["snapshots"], [])
        result = store.json("gc", "--dry-run")
        equal([i["kind"] for i in result["items"]], ["staging"])
        equal(len(store.json("gc")["items"]), 1)
        equal(store.json("gc")["items"], [])


@test
def names_that_are_no_ids():
    with Store() as store:
        for name in ("../etc", "a/b", "", ".x", "a@", "a@x", "a@0"):
            for command in ("inspect", "verify", "delete"):
                done = store.run(command, name)
                assert done.returncode in (1, 2), (command, name, done.returncode)
                assert done.stderr.count("code: ") == 1, done.stderr


@test
def explain_knows_all_codes():
    codes = json.loads(run("explain", "--json").stdout)["codes"]
    assert len(codes) > 50
    for entry in codes:
        for key in ("title", "why", "cure"):
            assert entry[key].strip(), entry
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry["code"]), entry
    equal(len({e["code"] for e in codes}), len(codes))
    done = run("explain", codes[0]["code"])
    contains(done.stdout, codes[0]["code"], "why:", "do:")
    done = run("explain", "criu-mising")
    equal(done.returncode, 2)
    contains(done.stderr, "did you mean 'criu-missing'")


@test
def doctor_reports_and_decides():
    with Store() as store:
        done = store.run("doctor", "--json", env={"STASIS_CRIU": "/nonexistent/criu"})
        equal(done.returncode, 5)
        report = json.loads(done.stdout)
        equal(report["able"], False)
        for finding in report["findings"]:
            assert finding["level"] in ("ok", "note", "warning", "failure")
            assert finding["why"] and finding["cure"], finding
        failures = {f["code"] for f in report["findings"] if f["level"] == "failure"}
        assert failures & {"criu-missing", "criu-unusable", "not-root"}, failures
        text = store.run("doctor", env={"STASIS_CRIU": "/nonexistent/criu"}).stdout
        contains(text, "FAIL", "Snapshots can't work here yet")
        equal(os.listdir(store.root), [])


@test
def doctor_measures_speed():
    with Store() as store:
        done = store.run("doctor", "--speed", "--json", "--progress", "json")
        speed = json.loads(done.stdout)["speed"]
        assert speed["write_bytes_per_second"] > 0 and speed["read_bytes_per_second"] > 0
        events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
        equal(events, ["phase-begin", "phase-end"])
        equal(os.listdir(store.root), [])


@test
def doctor_without_rights():
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as directory:
        program = shutil.copy(PROGRAM, directory)
        os.chmod(directory, 0o755)
        done = subprocess.run([program, "doctor"], capture_output=True, text=True, user=65534,
                              group=65534, extra_groups=[])
        equal(done.returncode, 5)
        equal(done.stdout.count("FAIL"), 1)
        contains(done.stdout, "not-root")
        for arguments, status in ((["setup"], 5), (["checkpoint", "x"], 5), (["run", "-d", "true"], 5),
                                  (["run", "true"], 125), (["stop", "x"], 5)):
            done = subprocess.run([program, *arguments], capture_output=True, text=True, user=65534,
                                  group=65534, extra_groups=[])
            equal((arguments, done.returncode), (arguments, status))
            contains(done.stderr, "code: not-root")


@test
def setup_runs_the_script_that_is_installed():
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as directory:
        script = pathlib.Path(directory, "fetch-criu")
        script.write_text("#!/bin/sh\necho out; echo \"arguments: $*\" >&2; exit 7\n")
        script.chmod(0o755)
        done = run("setup", "--force", env={"STASIS_LIBEXEC": directory})
        equal((done.returncode, done.stdout), (1, ""))
        contains(done.stderr, "arguments: --force /", "out", "ended with status 7", "code: setup-failed")
        script.unlink()
        equal(run("setup", env={"STASIS_LIBEXEC": directory}).returncode, 5)


@test
def progress_on_a_terminal_leaves_one_line_a_phase():
    with Store() as store:
        store.make("demo")
        ours, theirs = pty.openpty()
        done = subprocess.run([PROGRAM, "--root", store.root, "verify", "demo"], stderr=theirs,
                              stdout=subprocess.PIPE, env=dict(os.environ, TERM="xterm"))
        os.close(theirs)
        equal(done.returncode, 0)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        contains(shown, "\r\x1b[K", "verify: ")
        equal(store.run("verify", "demo", "--progress", "none").stderr, "")
        contains(store.run("verify", "demo", "--progress", "plain").stderr, "verify: ")


def complete(shell_script, line):
    done = subprocess.run(["bash", "--norc", "-c", shell_script, "bash", line], capture_output=True, text=True,
                          env=dict(os.environ, PATH=f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}"))
    equal(done.stderr, "")
    return done.stdout.split()


# What bash does before it calls the function: words are split at blanks and, kept as words of
# their own, at characters of COMP_WORDBREAKS.
BASH = r"""
source <(snapshotctl completion bash)
COMP_WORDS=(); word=
for ((i = 0; i < ${#1}; i++)); do
    c=${1:i:1}
    case $c in
        ' ') [[ -n $word ]] && COMP_WORDS+=("$word"); word= ;;
        '='|'@'|':') [[ -n $word ]] && COMP_WORDS+=("$word"); COMP_WORDS+=("$c"); word= ;;
        *) word+=$c ;;
    esac
done
[[ ${1: -1} == [=:@] ]] || COMP_WORDS+=("$word")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_snapshotctl
printf '%s\n' "${COMPREPLY[@]}"
"""


@test
def bash_completion():
    with Store() as store:
        store.make("llama")
        store.make("llama")
        store.make("other")
        equal(complete(BASH, "snapshotctl chec"), ["checkpoint"])
        equal(complete(BASH, "snapshotctl run --det"), ["--detach"])
        equal(complete(BASH, "snapshotctl checkpoint x --tcp "), ["keep", "close", "refuse"])
        equal(complete(BASH, "snapshotctl checkpoint x --tcp="), ["keep", "close", "refuse"])
        equal(complete(BASH, "snapshotctl checkpoint x --tcp=k"), ["keep"])
        equal(complete(BASH, f"snapshotctl --root {store.root} restore l"), ["llama"])
        equal(complete(BASH, f"snapshotctl --root={store.root} restore llama@"), ["1", "2"])
        equal(complete(BASH, f"snapshotctl --root {store.root} restore llama@2"), ["2"])
        equal(complete(BASH, "snapshotctl explain criu-miss"), ["criu-missing"])
        contains(" ".join(complete(BASH, "snapshotctl run -- bas")), "bash")


@test
def zsh_completion():
    if not shutil.which("zsh"):
        return
    script = run("completion", "zsh").stdout
    done = subprocess.run(["zsh", "-f", "-n"], input=script, capture_output=True, text=True)
    equal((done.returncode, done.stderr), (0, ""))
    with Store() as store:
        store.make("llama")
        pathlib.Path(store.root, "_snapshotctl").write_text(script)
        # A real interactive zsh on a terminal: types, presses the tab key, shows the line.
        setup = (f"PS1='% ' TERM=dumb; fpath=('{store.root}' $fpath); path=('{os.path.dirname(PROGRAM)}' $path);"
                 f"autoload -U compinit; compinit -u -D; export STASIS_ROOT='{store.root}';"
                 "show() { print -r -- \"line=<$BUFFER>\" }; zle -N show; bindkey '^T' show; print rea''dy\n")
        pathlib.Path(store.root, "setup").write_text(setup)
        for typed, expected in (("snapshotctl chec", "snapshotctl checkpoint "),
                                ("snapshotctl restore ll", "snapshotctl restore llama "),
                                ("snapshotctl checkpoint x --tcp=cl", "snapshotctl checkpoint x --tcp=close "),
                                ("snapshotctl explain criu-miss", "snapshotctl explain criu-missing ")):
            contains(type_into_zsh(f"source '{store.root}/setup'\n", typed + "\t\x14"), f"line=<{expected}>")


def type_into_zsh(setup, keys):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("zsh", ["zsh", "-f", "-i"])
    shown = b""
    try:
        os.write(terminal, setup.encode())
        while b"ready\r\n" not in shown:
            shown += os.read(terminal, 65536)
        os.write(terminal, keys.encode())
        while b"line=<" not in shown or not re.search(rb"line=<[^>]*>", shown):
            shown += os.read(terminal, 65536)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return shown.decode(errors="replace")


@test
def fish_completion():
    if not shutil.which("fish"):
        return
    with Store() as store:
        store.make("llama")
        environment = dict(os.environ, HOME=store.root, PATH=f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}")

        def ask(line):
            done = subprocess.run(["fish", "--no-config", "-c",
                                   f"snapshotctl completion fish | source; complete -C '{line}'"],
                                  capture_output=True, text=True, env=environment)
            equal(done.stderr, "")
            return [row.split("\t")[0] for row in done.stdout.splitlines()]

        equal(ask("snapshotctl chec"), ["checkpoint"])
        equal(ask("snapshotctl checkpoint x --tcp=k"), ["--tcp=keep"])
        equal(ask(f"snapshotctl --root {store.root} restore l"), ["llama"])


@test
def the_manual_has_every_option():
    text = pathlib.Path(MANUAL).read_text()
    plain = subprocess.run(["mandoc", "-Tutf8", "-Owidth=200", MANUAL], capture_output=True, text=True).stdout \
        if shutil.which("mandoc") else None
    plain = re.sub(".\b", "", plain) if plain else text.replace("\\-", "-").replace("Fl -", "--")
    for name in commands():
        assert re.search(rf"^ +{name}: ", plain, re.M) or f".Ss {name}:" in text, name
        for option in re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", run(name, "--help").stdout, re.M):
            contains(plain, option)
    for status in ("125", "126", "128+N"):
        contains(plain, status)
    for variable in ("STASIS_ROOT", "STASIS_CRIU", "STASIS_LIBEXEC", "STASIS_LIBCUDA"):
        contains(plain, variable)


@test
def the_manual_is_clean():
    if not shutil.which("mandoc"):
        return
    lint = subprocess.run(["mandoc", "-T", "lint", MANUAL], capture_output=True, text=True).stdout
    # Whether other packages' pages are installed says nothing about ours.
    equal([line for line in lint.splitlines() if "referenced manual not found" not in line], [])


def main():
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok {number} {name}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} {name}")
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
    sys.exit(1 if failed else 0)


main()
