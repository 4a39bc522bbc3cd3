"""Where a user's files lie: ``$ESPEER_HOME`` has all of them in one folder, else the platform says."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import platformdirs

HOME: Final = "ESPEER_HOME"
CONFIG: Final = "ESPEER_CONFIG"


def data_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return the data folder where none is named."""
    home = _home(env)
    return home or platformdirs.user_data_path("espeer")


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """Return the settings' file where none is named; it need not exist."""
    home = _home(env)
    return (home or platformdirs.user_config_path("espeer")) / "config.toml"


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made again."""
    home = _home(env)
    return home / "cache" if home else platformdirs.user_cache_path("espeer")


def _home(env: Mapping[str, str]) -> Path | None:
    home = env.get(HOME)
    return Path(home).expanduser() if home else None
