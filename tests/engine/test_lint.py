"""Linters run on the bundle's files."""

from __future__ import annotations

import os

import pytest
from demo.local_program import find_program
from support.engine.bundle import COMPOSE_FILE, HERE, ROOT, run

DOCKERFILES = sorted([*ROOT.glob("backend/Dockerfile"), *ROOT.glob("deploy/*/Dockerfile"), *HERE.glob("**/Dockerfile")])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_hadolint_finds_nothing(dockerfile):
    config = HERE / "hadolint.yaml"
    run([find_program("hadolint"), "--config", config, dockerfile], environ=os.environ, cwd=ROOT)


def test_dclint_finds_nothing(engine, images):
    folder = HERE / "dclint"
    mounts = ["--volume", f"{ROOT / COMPOSE_FILE}:/project/{COMPOSE_FILE}:ro", "--volume", f"{folder}:/config:ro"]
    command = ["--max-warnings", "0", "--config", "/config/dclint.yaml", COMPOSE_FILE]
    words = ["docker", "run", "--rm", "--network", "none", *mounts, "callgate-test-dclint", *command]
    run(words, environ={**os.environ, **engine}, cwd=ROOT)


def test_gixy_finds_nothing_in_what_the_images_nginx_is_given(new_bundle, images, tmp_path):
    """This nginx differs from the edge tests', so it gets a different configuration."""
    show = "/opt/callgate/nginx/entrypoint check && nginx -p /run/edge/ -c /run/edge/etc/nginx.conf -e stderr -T"
    with new_bundle() as bundle:
        words = ("run", "--rm", "--no-deps", "-T", "--env", "DOMAIN=voice.example.com", "--entrypoint", "sh", "nginx")
        dump = bundle.compose(*words, "-c", show).stdout
    config = tmp_path / "nginx.conf"
    config.write_text(dump)
    run([find_program("gixy"), "--config", HERE / "gixy.cfg", config], environ=os.environ, cwd=tmp_path)
