"""The settings: one table, four places they can come from, and what is said of a wrong one."""

import re
import time
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import espeer
from espeer import places
from espeer.cli import flags
from espeer.cli.config import _lines
from espeer.config import Config
from espeer.errors import ConfigError
from espeer.settings import GROUPS, SETTINGS, Service
from espeer.sources import choose, load_config

File = Callable[[str], Path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Write a file of settings."""

    def write(text: str) -> Path:
        path = tmp_path / "espeer.toml"
        path.touch(0o600)
        path.write_text(text)
        return path

    return write


def said(file: Path | None = None, *, env: dict[str, str] | None = None, **given: Any) -> str:
    """What is said of settings that cannot be."""
    with pytest.raises(ConfigError) as caught:
        choose(file or Path("/dev/null"), flags=given, env=env or {}).config()
    line = str(caught.value)
    assert "\n" not in line
    return line


# -- the table


def test_the_table_holds_every_field_and_nothing_else() -> None:
    assert set(SETTINGS) == {one.name for owner in (Config, Service) for one in fields(owner)}
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(SETTINGS)  # each under one heading


def test_every_setting_tells_what_it_is() -> None:
    assert [name for name, setting in SETTINGS.items() if len(setting.help) < 10] == []


def test_no_two_settings_share_a_flag_or_a_variable() -> None:
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)
    named = [setting.flag for setting in SETTINGS.values() if setting.flag]
    assert len(set(named)) == len(named)


def test_secrets_that_need_not_be_on_a_command_line_have_no_flag() -> None:
    assert {name for name, setting in SETTINGS.items() if setting.flag is None} == {"psk", "http_key"}
    assert {one.name for one in fields(flags.Flags)} == {name for name, setting in SETTINGS.items() if setting.flag}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_default_is_written_as_it_is_read(setting: Any) -> None:
    written = tomllib.loads(f"it = {setting.written(setting.default)}")["it"]
    if setting.default is None and not setting.optional:
        return  # data, whose default depends on the environment
    assert setting.from_toml(written, Path("/")) == setting.default


# -- which goes first


def test_flag_variable_file_default(file: File) -> None:
    path = file("\nthreads = 4\ncontext = 1024\nrecall = 7\n")
    env = {"ESPEER_THREADS": "3", "ESPEER_CONTEXT": "512"}
    chosen = choose(path, flags={"threads": 2}, env=env)
    config = chosen.config()
    assert (config.threads, config.context, config.recall, config.kv_cache_mb) == (2, 512, 7, 128)
    origins = [chosen.origin(SETTINGS[name]) for name in ("threads", "context", "recall", "kv_cache_mb")]
    assert origins == ["--threads", "$ESPEER_CONTEXT", f"{path}:4", "default"]


@pytest.mark.parametrize(
    "setting", [one for one in SETTINGS.values() if one.name not in {"role", "servers"}], ids=lambda one: one.name
)
def test_each_setting_takes_part(file: File, setting: Any) -> None:
    """Three values that differ, of any kind: the file's, the variable's, the flag's."""
    values: list[tuple[str, Any]] = {
        bool: [("true", True), ("false", False), ("true", True)],
        int: [("901", 901), ("902", 902), ("903", 903)],
        float: [("0.5", 0.5), ("0.25", 0.25), ("1", 1.0)],
        tuple: [("a,b", ("a", "b")), (" c , d,", ("c", "d")), ("", ())],
        bytes: [("ab", b"\xab"), ("cd", b"\xcd"), ("ef", b"\xef")],
        Path: [("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))],
        str: [("one", "one"), ("two", "two"), ("three", "three")],
    }.get(setting.kind, [(choice, choice) for choice in (*setting.choices, *setting.choices)[:3]])
    path = file(f"{setting.name} = {setting.written(values[0][1])}\n")
    assert choose(path, env={}).value(setting) == values[0][1]
    env = {setting.variable: values[1][0]}
    assert choose(path, env=env).value(setting) == values[1][1]
    assert choose(path, env=env, flags={setting.name: values[2][1]}).value(setting) == values[2][1]


def test_a_variable_can_take_back_what_the_file_sets(file: File) -> None:
    path = file('answer_seconds = 20\ntypes = ["pumps"]\nlanguage = "german"\n')
    chosen = choose(path, env={"ESPEER_ANSWER_SECONDS": "none", "ESPEER_TYPES": "", "ESPEER_LANGUAGE": "none"})
    config = chosen.config()
    assert (config.answer_seconds, config.types, config.language) == (None, (), None)


def test_embedders_get_the_same(file: File, tmp_path: Path) -> None:
    path = file('types = ["pumps"]\nhttp = "off"\n')
    config = espeer.load_config(path, env={"ESPEER_THREADS": "3"}, data=tmp_path, offline=True)
    assert config == Config(types=("pumps",), threads=3, data=tmp_path, offline=True)


def test_a_ticket_can_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    ticket = tmp_path / "ticket"
    ticket.touch(0o600)
    env = {"ESPEER_CONFIG": "/dev/null", "ESPEER_JOIN_FILE": str(ticket)}
    with pytest.raises(ConfigError, match="is empty; it is to hold the line that `espeer invite` prints"):
        load_config(env=env)
    ticket.write_text("espeer1abc\n")
    assert load_config(env=env).join == "espeer1abc"
    ticket.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others; run: chmod 600"):
        load_config(env=env)


# -- where the files are


def test_a_home_has_all_in_one_folder(tmp_path: Path) -> None:
    env = {"ESPEER_HOME": str(tmp_path)}
    assert places.data_folder(env) == tmp_path
    assert places.config_file(env) == tmp_path / "config.toml"
    assert places.cache_folder(env) == tmp_path / "cache"
    assert choose(env=env).data == tmp_path
    assert choose(env=env).origin(SETTINGS["data"]) == "$ESPEER_HOME"
    (tmp_path / "config.toml").write_text('data = "elsewhere"\nthreads = 3\n')
    chosen = choose(env=env)
    assert (chosen.data, chosen.config().threads) == (tmp_path / "elsewhere", 3)


def test_the_platforms_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert places.config_file({}) == tmp_path / "c" / "espeer" / "config.toml"
    assert choose(env={}).file is None  # it need not be there
    (tmp_path / "c" / "espeer").mkdir(parents=True)
    places.config_file({}).write_text("threads = 5\n")
    assert choose(env={}).config().threads == 5
    assert choose(env={}).data == tmp_path / "d" / "espeer"


def test_a_named_file_is_read_instead_and_must_be_there(file: File, tmp_path: Path) -> None:
    path = file("threads = 5\n")
    env = {"ESPEER_HOME": str(tmp_path), "ESPEER_CONFIG": str(path)}
    (tmp_path / "config.toml").write_text("threads = 6\n")
    assert choose(env=env).config().threads == 5
    assert choose(Path("/dev/null"), env=env).config().threads is None
    for given, variables in ((tmp_path / "none", {}), (None, {"ESPEER_CONFIG": str(tmp_path / "none")})):
        with pytest.raises(ConfigError, match=rf"cannot read the settings in {re.escape(str(tmp_path))}/none: No such file"):
            choose(given, env=variables)
    with pytest.raises(ConfigError, match="the variable ESPEER_CONFIG is empty"):
        choose(env={"ESPEER_CONFIG": ""})


def test_paths_are_relative_to_the_file_and_to_the_user(file: File, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    chosen = choose(file('data = "d"\npsk_file = "~/psk"\nhttp_key_file = "/k"\n'), env={})
    assert (chosen.data, chosen.config().psk_file) == (tmp_path / "d", tmp_path / "me" / "psk")
    assert chosen.service().http_key_file == Path("/k")


# -- what is wrong, and where


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("threds = 4", "{path}:1: threds is not a setting; did you mean threads?"),
        ("\n\nkv-cache-mb = 4", "{path}:3: kv-cache-mb is not a setting; did you mean kv_cache_mb?"),
        ("zzz = 4", "{path}:1: zzz is not a setting; `espeer config show` lists them all"),
        ('threads = "four"', '{path}:1: threads is "four"; give a whole number, or "none"'),
        ("# no\nthreads = 1.5", '{path}:2: threads is 1.5; give a whole number, or "none"'),
        ("threads = true", '{path}:1: threads is true; give a whole number, or "none"'),
        ("mdns = 1", "{path}:1: mdns is 1; give true or false"),
        ('k1 = "x"', '{path}:1: k1 is "x"; give a number'),
        ("k1 = inf", "k1 must be at least 0, and b from 0 to 1 (k1 is set in {path}:1)"),
        ('types = "pumps"', '{path}:1: types is "pumps"; give a list of texts'),
        ("types = [1]", "{path}:1: types is [1]; give a list of texts"),
        ('role = "boss"', '{path}:1: role is "boss"; give one of peer, server, client'),
        ('data = ""', '{path}:1: data is ""; give a path'),
        ("[model]\nthreads = 1", '{path}:1: model is a table; give a text, or "none"; the file has no [tables]'),
        ("[log]\nlevel = 1", "{path}:1: log is not a setting; `espeer config show` lists them all"),
        ('psk = "secret"', '{path}:1: psk is not what it can be; give hexadecimal digits, or "none"'),
        ("a = 1\nb = 'x'", "{path}:1: a is not a setting; `espeer config show` lists them all (and 1 more such faults)"),
        ("\nthreads = ", "{path}:2: not TOML: Invalid value (at line 2, column 11)"),
        ("threads = 4\nthreads = 5", "{path}:2: not TOML: Cannot overwrite a value (at line 2, column 12)"),
        ("threads = 0", "threads is 0; the least is 1 (threads is set in {path}:1)"),
        ("\nkv_cache_mb = -1", "kv-cache-mb is -1; the least is 0 (kv_cache_mb is set in {path}:2)"),
        ('types = ["No!"]', "type 'No!' is not 1 to 32 of a-z, 0-9 and '-' (types is set in {path}:1)"),
        (
            'role = "client"\nlisten = ["/ip4/0.0.0.0/tcp/1"]',
            "a client does not listen: leave out listen and announce (listen is set in {path}:2)",
        ),
        (
            'role = "client"\nmax_records = 5',
            "a client holds no experiences: leave out max-records, which its server is given (max_records is set in {path}:2)",
        ),
    ],
)
def test_a_file_with_a_fault(file: File, text: str, line: str) -> None:
    path = file(text + "\n")
    assert said(path) == line.replace("{path}", str(path))


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"ESPEER_THREDS": "4"}, "the variable ESPEER_THREDS sets nothing; did you mean ESPEER_THREADS?; unset it"),
        ({"ESPEER_THREADS": "four"}, 'the variable ESPEER_THREADS is "four"; give a whole number, or "none", or unset it'),
        ({"ESPEER_THREADS": ""}, 'the variable ESPEER_THREADS is empty; give a whole number, or "none", or unset it'),
        ({"ESPEER_MDNS": "maybe"}, 'the variable ESPEER_MDNS is "maybe"; give true or false, or unset it'),
        (
            {"ESPEER_PSK": "xyz"},
            'the variable ESPEER_PSK is not what it can be; give hexadecimal digits, or "none", or unset it',
        ),
        ({"ESPEER_THREADS": "0"}, "threads is 0; the least is 1 (threads is set in $ESPEER_THREADS)"),
    ],
)
def test_a_variable_with_a_fault(env: dict[str, str], line: str) -> None:
    assert said(env=env) == line


def test_what_a_flag_says_needs_no_origin() -> None:
    assert said(threads=0) == "threads is 0; the least is 1"


def test_variables_that_set_nothing_of_ours_are_left_alone() -> None:
    """The folder of the experiments' data, and what Kubernetes has beside a service called espeer."""
    env = {
        "ESPEER_DATA": "/x",
        "ESPEER_PORT": "tcp://10.0.0.1:80",
        "ESPEER_SERVICE_HOST": "10.0.0.1",
        "ESPEER_PORT_80_TCP": "x",
    }
    assert choose(Path("/dev/null"), env=env).values == {}


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on"])
def test_ways_to_say_yes(value: str) -> None:
    assert choose(Path("/dev/null"), env={"ESPEER_MDNS": value}).config().mdns


def test_a_file_with_a_secret_is_its_users_alone(file: File) -> None:
    path = file('http_key = "0123456789abcdef"\n')
    assert choose(path, env={}).service().http_key == "0123456789abcdef"
    path.chmod(0o640)
    assert said(path) == f"{path} holds a secret (http_key) and can be read by others; run: chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("threads = " + "1" * 5000, "holds a number that nothing can be set to"),
        ("threads" + ".a" * 900 + " = 1", "give a whole number"),
        ("a" + ".a" * 20_000 + " = 1", "has a line with more than 1,000 full stops"),
        ("".join(f"threadz{number} = 1\n" for number in range(3_500)), "and 3499 more such faults"),
        (" " * 60_000 + "\nthreads = true", "espeer.toml:2: threads is true"),
        ("[" + " " * 60_000 + "\n", "not TOML"),
        ('"\\u001b[31mx" = 1', r"'\x1b[31mx' is not a setting"),
        ('data = "~nobody-of-that-name/x"', 'data is "~nobody-of-that-name/x"; give a path'),
        ("#" * (64 * 1024 + 1), "more than 65,536 bytes"),
    ],
    ids=["digits", "deep", "deeper", "faults", "spaces", "bracket", "escape", "home", "large"],
)
def test_a_file_that_somebody_made_to_hurt(file: File, text: str, line: str) -> None:
    began = time.process_time()
    assert line in said(file(text))
    assert time.process_time() - began < 2  # the slowest took two minutes


def test_a_file_that_is_no_text_or_without_end(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert said(tmp_path / "bytes") == f"{tmp_path / 'bytes'} is not UTF-8"
    assert said(Path("/dev/zero")) == "/dev/zero is no file of settings: it has more than 65,536 bytes"
    (tmp_path / "deep").write_text("types = " + "[" * 5000 + "]" * 5000)
    assert said(tmp_path / "deep") == f"{tmp_path / 'deep'} is nested far too deep"


def test_the_file_that_init_writes_sets_nothing_and_uncommented_the_defaults(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ESPEER_HOME", raising=False)
    lines = list(_lines())
    assert tomllib.loads("\n".join(lines)) == {}
    path = file("\n".join(re.sub(r"^# (\w+ = )", r"\1", line) for line in lines))
    chosen = choose(path, env={})
    assert set(chosen.values) == set(SETTINGS)
    assert chosen.config() == Config()
    assert chosen.service() == Service()


def test_the_file_for_the_service_can_be_used() -> None:
    choose(Path(__file__).parents[1] / "ops" / "espeer.toml", env={}).config()


def test_an_app_may_give_its_data_folder_as_a_string() -> None:
    assert Config(data="/var/lib/espeer").data == Path("/var/lib/espeer")  # type: ignore[arg-type]
